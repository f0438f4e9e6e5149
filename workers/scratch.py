"""Gives an agent a folder for temporary files, and removes the folders of agents that were killed.

A killed agent cannot remove its folder, so the next agent does. Each holds a lock on a file beside its folder, which
the kernel drops with the process: unlike a process id, that also works between containers that share a disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

_PREFIX = "yurt-agent-"
_LOCK = ".lock"


class Scratch:
    """A context manager over a new folder ``path`` inside ``parent``.

    Raises OSError when it cannot be made.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self.path = parent / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
        self._lock = -1

    def __enter__(self) -> Self:
        for lock in self._parent.glob(f"{_PREFIX}*{_LOCK}"):
            _remove_dead(lock)
        # Made and locked under a name that no other agent looks for, so that none sees it without its lock.
        hidden = self.path.with_name(f".{self.path.name}")
        self._lock = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(_lock_of(self.path))
        self.path.mkdir(mode=0o700)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _remove(self.path)
        os.close(self._lock)

    def folder(self, name: str) -> Path:
        """Make a new empty folder for one lease. Remove it with `discard`."""
        path = self.path / name
        path.mkdir(mode=0o700)
        return path


def discard(path: Path) -> None:
    """Remove a folder and all in it, also files that a handler made unreadable. What cannot be removed is left."""
    if path.is_symlink():
        return
    with contextlib.suppress(OSError):
        path.chmod(0o700)
    for parent, folders, _ in os.walk(path):
        for folder in (Path(parent, name) for name in folders):
            with contextlib.suppress(OSError):
                if not folder.is_symlink():  # a handler's link may lead anywhere
                    folder.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


def _remove_dead(lock: Path) -> None:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # another agent has removed it, or it is another user's
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_uid == os.getuid():  # in a shared folder anyone can leave files of this name
            _remove(lock.with_name(lock.name.removesuffix(_LOCK)))
    except BlockingIOError:  # its agent is running
        pass
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    discard(folder)
    if not folder.exists():  # until all is removed the lock file stays: the next agent finds the folder by it
        _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + _LOCK)
