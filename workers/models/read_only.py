"""Makes folders read-only, and removes them again."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def make_read_only(folder: Path) -> None:
    """Let nothing below a folder of this user's be changed. Raises OSError."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            Path(parent, name).chmod(0o400)
        Path(parent).chmod(0o500)


def make_writable(folder: Path) -> None:
    """Undo it. Raises OSError."""
    folder.chmod(0o700)
    for parent, folders, names in os.walk(folder):
        for name in folders:
            Path(parent, name).chmod(0o700)
        for name in names:
            Path(parent, name).chmod(0o600)


def remove(folder: Path) -> None:
    """Remove a folder and all below it, read-only folders too. What cannot be removed stays."""
    _open(folder)
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            _open(Path(parent, name))  # before it is walked
    shutil.rmtree(folder, ignore_errors=True)


def _open(folder: Path) -> None:
    if not folder.is_symlink():
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
