"""Locks a file between processes (flock), so that one of them writes a model while the others wait, or all read it.

The kernel drops a lock with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from workers.models.errors import DownloadCancelled

_POLL_SECONDS = 0.05


class FileLock:
    """A lock that is held until it is closed: shared by its readers, or exclusive."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, shared: bool) -> Self | None:
        """Take the lock if it is free, and make its file; None where another holds it.

        Raises OSError where the file is a link or cannot be opened.
        """
        while True:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            if _is_at(path, descriptor):
                return cls(path, descriptor)
            os.close(descriptor)  # removed with its model, between the two calls

    @classmethod
    def wait(cls, path: Path, stop: threading.Event, waiting: Callable[[], None] = lambda: None) -> Self:
        """Take the exclusive lock once it is free; ``waiting`` is called again and again until then.

        Polls, since a thread that waits in flock(2) cannot be stopped. Raises `DownloadCancelled`.
        """
        while (lock := cls.take(path, shared=False)) is None:
            waiting()
            if stop.wait(_POLL_SECONDS):
                raise DownloadCancelled
        return lock

    def mark_used(self) -> None:
        """Note that the model was used now: the oldest are removed first."""
        with contextlib.suppress(OSError):
            os.utime(self._descriptor)

    def remove(self) -> None:
        """Remove the file, of an exclusive lock, with what it stood for."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the lock up."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
