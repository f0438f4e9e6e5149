"""Sums up what lies in a job's folders, and what its processes hold in files that have no name any more."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_BLOCK_BYTES = 512
"""Of ``st_blocks``, whatever the file system."""


class FolderUse:
    """Files and bytes so far. Stops counting once there are more than ``max_files``."""

    def __init__(self, max_files: int) -> None:
        self._max_files = max_files
        self.files = 0
        self.bytes = 0
        """On the disk: a hole takes none."""

    def add(self, folder: Path) -> None:
        """Add everything below ``folder``. Links are not followed; what vanishes meanwhile is left out."""
        pending = [str(folder)]
        while pending and self.files <= self._max_files:
            with suppress(OSError), os.scandir(pending.pop()) as entries:
                for entry in entries:
                    self._count(entry.stat(follow_symlinks=False))
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    if self.files > self._max_files:
                        return

    def add_unlinked(self, pid: int) -> None:
        """Add the files that a process holds open and that have no name: removed ones, and files in memory."""
        folder = f"/proc/{pid}/fd"
        with suppress(OSError):
            for name in os.listdir(folder):  # noqa: PTH208 - often, and a Path would take longer
                with suppress(OSError):
                    status = os.stat(f"{folder}/{name}")  # noqa: PTH116 - likewise
                    if status.st_nlink == 0:
                        self._count(status)

    def _count(self, status: os.stat_result) -> None:
        self.files += 1
        self.bytes += status.st_blocks * _BLOCK_BYTES
