"""Names the folder of the user's own modules and programs, in which handlers are found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

_MAX_FILES = 2_000
"""Files looked at for a change: the folder is the user's, and may hold anything."""
ENVIRONMENT = "YURT_HANDLERS"
"""Variable with the folder's absolute path. Local workers are given the configuration's folder."""


INSTALLED = frozenset({"site-packages", "dist-packages", "node_modules"})
"""Folders inside the user's folder with what others wrote: it does not change while a handler is written."""


def handlers_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder that this process was told; None where it was told none."""
    return Path(value) if (value := environ.get(ENVIRONMENT, "")) else None


def snapshot(folder: Path) -> frozenset[tuple[str, int, int]]:
    """Return path, size and time of the last change of each file of the user's: equal where nothing has changed.

    The time is that of the inode (``st_ctime``), which a ``chmod`` changes too. Hidden folders and environments are
    left out, and so is what exceeds 2,000 files.
    """
    return frozenset(islice(_files(folder), _MAX_FILES))


def _files(folder: Path) -> Iterator[tuple[str, int, int]]:
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__")) and name not in INSTALLED]
        for name in names:
            try:
                status = os.lstat(f"{path}/{name}")
            except OSError:  # removed meanwhile
                continue
            yield f"{path}/{name}", status.st_ctime_ns, status.st_size
