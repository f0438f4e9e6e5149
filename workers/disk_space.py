"""Measures the disk of a folder: the only word on whether this machine's disk is full."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from workers.folder_use import FolderUse
from workers.sandbox.messages import MAX_FILES

RESERVE_BYTES = 16 << 20
"""Of disk space that is left free, for outputs and for other users of the disk."""
RESERVE_FILES = 100
"""Of inodes, likewise."""


def require_space(folder: Path, size_bytes: int) -> None:
    """Raise OSError (``ENOSPC``) unless ``size_bytes``, and a reserve of bytes and files, are free there."""
    if _lacks_space(folder, size_bytes):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def free_bytes(folder: Path) -> int:
    """Return how many bytes may be written there, but for the reserve; 0 where there is no room for files."""
    if _lacks_space(folder, 0):
        return 0
    system = os.statvfs(folder)
    return system.f_bavail * system.f_frsize - RESERVE_BYTES


def is_full_without(folder: Path) -> bool:
    """Whether the disk is full, and would be if nothing lay in ``folder``: then what fills it is not the job there."""
    if not _lacks_space(folder, 0):
        return False
    use = FolderUse(MAX_FILES)
    use.add(folder)
    return _lacks_space(folder, -use.bytes, -use.files)


def _lacks_space(folder: Path, size_bytes: int, files: int = 0) -> bool:
    system = os.statvfs(folder)
    # A file system without a number of inodes of its own (btrfs) reports 0 of 0.
    few_files = system.f_files > 0 and system.f_favail < RESERVE_FILES + files
    return few_files or system.f_bavail * system.f_frsize < RESERVE_BYTES + size_bytes
