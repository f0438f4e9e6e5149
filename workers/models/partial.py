"""Makes a model's folder while it is fetched: sparse files of their final sizes, into which parts are written in place.

No path leads out of the folder: each folder on the way is opened by its name in the one before, and a link is refused.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path

from workers.models.errors import ModelUnavailable
from workers.models.manifest import FILE_NAME
from workers.models.plan import DownloadPlan, PlannedPart

_READ_BYTES = 1 << 20
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_RDONLY | os.O_CLOEXEC


class PartialFolder:
    """The folder of a model that is not whole yet. Used by the holder of the model's exclusive lock alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self, plan: DownloadPlan) -> None:
        """Make all files, or bring those of an earlier download to their sizes.

        Raises `ModelUnavailable` where the file system does not take a name, and OSError.
        """
        self.path.mkdir(mode=0o700, exist_ok=True)
        for path, size, _ in plan.files:
            descriptor = self._open(path, os.O_RDWR | os.O_CREAT)
            try:
                os.ftruncate(descriptor, size)
            finally:
                os.close(descriptor)
        if plan.manifest is not None:
            self._write_manifest(plan.manifest)

    def manifest(self) -> bytes | None:
        """Return the manifest that an earlier download has written, to be checked by the caller."""
        try:
            descriptor = self._open(FILE_NAME, os.O_RDONLY)
        except (OSError, ModelUnavailable):
            return None
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def open(self, path: str) -> int:
        """Open a file for writing and reading. Raises OSError."""
        return self._open(path, os.O_RDWR)

    def digest(self, part: PlannedPart) -> str:
        """Return the SHA-256 of a part as it lies on the disk."""
        digest, left = hashlib.sha256(), part.size
        with os.fdopen(self.open(part.path), "rb", buffering=0) as file:
            file.seek(part.offset)
            while left and (data := file.read(min(left, _READ_BYTES))):
                digest.update(data)
                left -= len(data)
        return digest.hexdigest()

    def _write_manifest(self, manifest: bytes) -> None:
        with os.fdopen(self._open(FILE_NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(manifest)

    def _open(self, path: str, flags: int) -> int:
        *folders, name = path.split("/")
        at = os.open(self.path, _FOLDER)
        try:
            for folder in folders:
                at = _enter(at, folder, make=bool(flags & os.O_CREAT))
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=at)
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
                raise ModelUnavailable(f"No file can be called {path[:200]} here: {error.strerror}.") from error
            raise
        finally:
            os.close(at)


def _enter(at: int, folder: str, *, make: bool) -> int:
    """Open a folder in an open one, which is closed unless that fails."""
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700, dir_fd=at)
    inner = os.open(folder, _FOLDER, dir_fd=at)
    os.close(at)
    return inner
