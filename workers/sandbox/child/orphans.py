"""Ends orphaned processes: those that a handler started and left running."""

from __future__ import annotations

import os
import signal
import sys
import time

from workers.sandbox import descendants
from workers.sandbox.child import linux

_ROUNDS = 2_000
_ROUND_SECONDS = 0.001
"""A killed process ends at once, but not before the call returns."""


def adopt() -> None:
    """Become the parent of each process that a handler leaves behind, also of one that made itself a daemon.

    Linux only: elsewhere an orphaned process goes to the system's first process, and only children are found.
    """
    if sys.platform == "linux":
        linux.adopt_orphans()


def end() -> None:
    """SIGKILL every process below this one, and wait until each has ended.

    A job that goes on making processes faster than they are killed ends this process too, and with it its whole group:
    the agent then finds the rest.
    """
    for _ in range(_ROUNDS):
        if not _reap():
            return
        descendants.kill_below(os.getpid())
        time.sleep(_ROUND_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _reap() -> bool:
    """Reap the children that have ended; return whether any is still running."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True
