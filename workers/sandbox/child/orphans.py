"""Finds orphaned processes: those that a handler started and left running."""

from __future__ import annotations

import os
import sys

from workers.sandbox.child import linux


def adopt() -> None:
    """Become the parent of each process that a handler leaves behind, also of one that made itself a daemon.

    Linux only: elsewhere an orphaned process goes to the system's first process, and only children are found.
    """
    if sys.platform == "linux":
        linux.adopt_orphans()


def are_running() -> bool:
    """Reap the children that have ended; return whether any is still running."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True
