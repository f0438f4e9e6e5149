"""Processes that a handler started and left running."""

from __future__ import annotations

import os
import sys

from workers.sandbox.child import linux


def adopt() -> None:
    """From now on see every process that a handler leaves behind, also one that made itself a daemon (Linux
    only).
    """
    if sys.platform == "linux":
        linux.adopt_orphans()


def remain() -> bool:
    """Reap what has ended; say whether any is still running."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True
