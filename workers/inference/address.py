"""Names the socket of the process that runs models, so that its path fits into the kernel's field for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INFERENCE = "YURT_INFERENCE"
"""Environment variable of a handler's process: the path of the socket of the process that runs models."""
MOST_BYTES = 103
"""Of a path to bind or connect to, on the systems that take the fewest: unix(7) has 107, macOS 103."""


def socket_in(folder: Path) -> Path:
    """The socket of the process that runs models, in a folder that others cannot enter."""
    return folder / "models"


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
