"""Names a socket's path so that it fits into the kernel's field for it, however long the path is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_BYTES = 103
"""Of a path to bind or connect to, on the systems that take the fewest: unix(7) has 107, macOS 103."""


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Give the address of a socket at this path, for as long as the block runs.

    On Linux a folder that is open has a short name too. Elsewhere a long path stays long, and is refused: OSError.
    """
    if len(os.fsencode(path)) <= MOST_BYTES or sys.platform != "linux":
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
