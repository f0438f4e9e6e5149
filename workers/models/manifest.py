"""The manifest of a model: its files with the SHA-256 of each of their parts, so that a part can be checked alone.

It is written once by ``yurt models publish`` and never changed. Its own SHA-256 is the model's **root**, which names
one version of the model everywhere: in the bucket, in a lease, in a worker's cache. What is found under a root is never
validated again.

A model that was published lies in the bucket as::

    {prefix}/manifest.json              the manifest of the version that is current
    {prefix}/{root}/manifest.json       the same bytes
    {prefix}/{root}/{path}              each file, under the path that it had (as in a Hugging Face repository)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from workers.protocol import MAX_MODEL_FILES
from workers.value_types import ModelPath, Sha256

FILE_NAME = "manifest.json"
CONTENT_TYPE = "application/json"
PART_BYTES = 16 << 20
"""Of a part: one range that is fetched, checked and noted at once."""
MAX_BYTES = 32 << 20
"""Of an encoded manifest: enough for 8 TiB in parts of 16 MiB."""
MAX_DEPTH = 20
"""Folders within each other."""
MAX_FILE_BYTES = 5 << 40
"""One object of S3 has at most 5 TiB."""

_PATH: TypeAdapter[str] = TypeAdapter(ModelPath)


def _distinct(files: tuple[ModelFile, ...]) -> tuple[ModelFile, ...]:
    paths = [file.path for file in files]
    if paths != sorted(set(paths)):
        raise ValueError("files have to be sorted by path, each path once")
    folders = {path[:i] for path in paths for i, character in enumerate(path) if character == "/"}
    if clash := folders & {*paths, FILE_NAME} or {FILE_NAME} & set(paths):
        raise ValueError(f"{min(clash)} is a file and a folder, or the manifest's own name")
    return files


class ModelFile(BaseModel):
    """One file of a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: ModelPath
    size: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]
    """Bytes."""
    parts: tuple[Sha256, ...]
    """SHA-256 of each part, in lower-case hexadecimal digits. All parts but the last have the manifest's size."""


class ModelManifest(BaseModel):
    """The files of one version of a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    part_bytes: Annotated[int, Field(ge=1 << 16, le=1 << 30)] = PART_BYTES
    files: Annotated[tuple[ModelFile, ...], Field(min_length=1, max_length=MAX_MODEL_FILES), AfterValidator(_distinct)]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for file in self.files:
            if len(file.parts) != parts_of(file.size, self.part_bytes):
                raise ValueError(f"{file.path} has {len(file.parts)} parts: {file.size} bytes are not so many")
        return self

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def encode(self) -> bytes:
        """Compact JSON in UTF-8. The same files are always the same bytes.

        Raises ValueError where it is longer than ``MAX_BYTES``.
        """
        encoded = self.model_dump_json().encode()
        if len(encoded) > MAX_BYTES:
            raise ValueError(f"the manifest has {len(encoded)} bytes, at most {MAX_BYTES} are allowed")
        return encoded

    @classmethod
    def decode(cls, encoded: bytes) -> ModelManifest:
        """Read an encoded manifest. Raises ValueError on anything else."""
        if len(encoded) > MAX_BYTES:
            raise ValueError(f"a manifest of {len(encoded)} bytes is longer than any that is written")
        return cls.model_validate_json(encoded)


def root_of(encoded: bytes) -> str:
    """The root of a model: SHA-256 of its encoded manifest, in hexadecimal digits."""
    return hashlib.sha256(encoded).hexdigest()


def unpublished_root(objects: Iterable[tuple[str, str, str, int]]) -> str:
    """The root of objects without a manifest, from bucket, key, ETag and size of each.

    An ETag is no digest of the content in general, so equal content in two buckets has two roots.
    """
    lines: Sequence[str] = sorted("\0".join((bucket, key, etag, str(size))) for bucket, key, etag, size in objects)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def parts_of(size: int, part_bytes: int) -> int:
    """How many parts a file of ``size`` bytes has: none where it is empty."""
    return -(-size // part_bytes)


def is_path(path: str) -> bool:
    """Whether a name can be the path of a model's file."""
    try:
        _PATH.validate_python(path)
    except ValueError:
        return False
    return True
