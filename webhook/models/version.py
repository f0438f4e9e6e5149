"""Finds one version of a model in its bucket: what was published with a manifest, or else plain objects.

Reads the store and writes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from webhook.config import ModelSettings
from webhook.events import ListedObject
from webhook.storage import ObjectStore
from workers.models import manifest
from workers.models.manifest import ModelManifest
from workers.protocol import MAX_MODEL_FILES, ModelRef

_REASON_CHARACTERS = 300
_PUBLISHED = re.compile(r"[0-9a-f]{64}/")
"""The folder of a version, named by its root."""
_SHOWN = 3
"""Faults of names that an error shows."""


class ModelMissing(Exception):
    """There is no such model, or it cannot be used. The message says what to do."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a model, where it lies in the bucket."""

    path: str
    key: str
    size: int
    """Bytes."""
    etag: str | None
    """Of a file that no manifest describes."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model, and where its files lie."""

    ref: ModelRef
    bucket: str
    manifest_key: str | None
    """None: nothing was published; the files are plain objects."""
    files: tuple[StoredFile, ...]


def folder_of(model: ModelSettings) -> str:
    """The prefix below which a model was published, with a slash at its end."""
    return f"{model.source.prefix.strip('/')}/"


async def current(store: ObjectStore, name: str, model: ModelSettings) -> ModelVersion:
    """Find the version that new leases get: that of the settings' root, else the one published last.

    Raises ModelMissing, StoreError.
    """
    if model.root is not None:
        if (pinned := await published(store, name, model, model.root)) is None:
            raise ModelMissing(
                f"{model.source} has no version {model.root[:12]}…: `yurt models list {name}` shows those that it has"
            )
        return pinned
    pointer = await store.read(model.source.bucket, folder_of(model) + manifest.FILE_NAME, manifest.MAX_BYTES)
    if pointer is not None:
        return _of_manifest(name, model, pointer[0])
    return await _of_objects(store, name, model)


async def published(store: ObjectStore, name: str, model: ModelSettings, root: str) -> ModelVersion | None:
    """Find a version by its root; None where it was not published there. Raises ModelMissing, StoreError."""
    key = f"{folder_of(model)}{root}/{manifest.FILE_NAME}"
    found = await store.read(model.source.bucket, key, manifest.MAX_BYTES)
    if found is None:
        return None
    version = _of_manifest(name, model, found[0])
    if version.ref.root != root:
        raise ModelMissing(f"s3://{model.source.bucket}/{key} has been changed: publish the model again")
    return version


def _of_manifest(name: str, model: ModelSettings, encoded: bytes) -> ModelVersion:
    try:
        listed = ModelManifest.decode(encoded)
    except ValueError as error:
        reason = " ".join(str(error).split())[:_REASON_CHARACTERS]
        raise ModelMissing(f"the manifest of {model.source} is none: publish the model again ({reason})") from None
    root = manifest.root_of(encoded)
    folder = f"{folder_of(model)}{root}/"
    return ModelVersion(
        ModelRef(name=name, root=root, size=listed.size),
        model.source.bucket,
        folder + manifest.FILE_NAME,
        tuple(StoredFile(file.path, folder + file.path, file.size, None) for file in listed.files),
    )


async def _of_objects(store: ObjectStore, name: str, model: ModelSettings) -> ModelVersion:
    """The model of plain objects: one whose key is the source, or all below it."""
    bucket, prefix = model.source.bucket, model.source.prefix.strip("/")
    if (head := await store.head(bucket, prefix)) is not None:
        return _of_files(name, model, [StoredFile(prefix.rpartition("/")[2], prefix, head.size, head.etag)])
    page = await store.list_page(bucket, f"{prefix}/", most=MAX_MODEL_FILES)
    if page.more:
        raise ModelMissing(f"below {model.source} are more than {MAX_MODEL_FILES} objects: name a longer prefix")
    files = [_listed(item, f"{prefix}/") for item in page.objects if not item.key.endswith("/")]
    if not files:
        raise ModelMissing(f"there is nothing at {model.source}: `yurt models publish {name} FILE` puts a model there")
    if any(_PUBLISHED.match(file.path) for file in files):  # its manifest comes last
        raise ModelMissing(
            f"{model.source} has no manifest yet: a version is being published, or `yurt models publish {name} FILE` "
            "was interrupted: it goes on where it stopped"
        )
    return _of_files(name, model, files)


def _listed(item: ListedObject, prefix: str) -> StoredFile:
    return StoredFile(item.key.removeprefix(prefix), item.key, item.size, item.etag)


def _of_files(name: str, model: ModelSettings, files: list[StoredFile]) -> ModelVersion:
    bucket = model.source.bucket
    if wrong := [file.key for file in files if not manifest.is_path(file.path)]:
        shown = ", ".join(map(repr, wrong[:_SHOWN]))
        raise ModelMissing(f"below {model.source} are names that are no paths of files: {shown}")
    root = manifest.unpublished_root((bucket, file.key, file.etag or "", file.size) for file in files)
    ref = ModelRef(name=name, root=root, size=sum(file.size for file in files))
    return ModelVersion(ref, bucket, None, tuple(files))
