"""Keeps the local bucket's objects in a folder, so that they are there again after a restart.

One file an object, named by the hash of its bucket and key. Its first line is JSON: bucket, key, ETag, time, size and
the headers it is served with; the content follows. A file is written beside its place and moved there, so a crash
leaves the earlier object or the new one, never a part. What a crash leaves beside is removed at the next start. Uploads
that were not completed, tags and earlier versions are not kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from infra.local.exchange import RefusedError

MAX_BYTES = 4 * 1024**3
"""Of all objects together. They are also held by the running bucket."""
_MAX_HEADER_BYTES = 64 * 1024
_PARTIAL = ".partial"


class KeptFolderError(Exception):
    """The folder cannot be used. The message says why."""


@dataclass(frozen=True, slots=True)
class KeptObject:
    """An object of the local bucket, without its content."""

    bucket: str
    key: str
    etag: str
    """Without quotes."""
    modified: str
    """ISO 8601, UTC, with microseconds."""
    size: int
    """Bytes."""
    headers: dict[str, str]
    """Content-Type and its like, and user metadata."""

    @property
    def modified_at(self) -> datetime:
        """When it was written."""
        return datetime.fromisoformat(self.modified)


class KeptObjects:
    """The folder. Not safe for threads: one caller at a time."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        """Open the folder, made if it is missing, for this user alone. Raises KeptFolderError."""
        self._folder = folder
        self._max_bytes = max_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for partial in folder.glob(f"*{_PARTIAL}"):
                partial.unlink()
            self._sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
        except OSError as error:
            raise KeptFolderError(f"objects cannot be kept there: {error.strerror}") from None

    def load(self) -> Iterator[tuple[KeptObject, bytes]]:
        """Every object with its content. A file that is damaged is named on standard error, and left out."""
        for name in sorted(self._sizes):
            try:
                yield _read(self._folder / name)
            except (OSError, ValueError, TypeError) as error:
                sys.stderr.write(f"{self._folder / name} is no object of the local bucket, and is left out: {error}\n")

    def check_room(self, size_bytes: int) -> None:
        """Raise RefusedError where a request of this size would exceed the limit."""
        if sum(self._sizes.values()) + size_bytes > self._max_bytes:
            raise RefusedError(
                507,
                "InsufficientStorage",
                f"{self._folder} holds at most {self._max_bytes} bytes: delete some objects.",
            )

    def write(self, kept: KeptObject, content: bytes) -> None:
        """Keep an object, in place of the one under its key. Raises OSError."""
        path = self._path(kept.bucket, kept.key)
        partial = path.with_name(path.name + _PARTIAL)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(json.dumps(asdict(kept)).encode() + b"\n")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        self._sizes[path.name] = path.stat().st_size

    def remove(self, bucket: str, key: str) -> None:
        """Remove an object, if it is kept. Raises OSError."""
        path = self._path(bucket, key)
        self._sizes.pop(path.name, None)
        with suppress(FileNotFoundError):
            path.unlink()

    def _path(self, bucket: str, key: str) -> Path:
        return self._folder / hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()


def _read(path: Path) -> tuple[KeptObject, bytes]:
    """One object. Raises OSError; ValueError or TypeError where it is damaged."""
    with path.open("rb") as file:
        kept = KeptObject(**json.loads(file.readline(_MAX_HEADER_BYTES)))
        content = file.read()
    if len(content) != kept.size:
        raise ValueError(f"{len(content)} bytes instead of {kept.size}")
    return kept, content
