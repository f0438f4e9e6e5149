"""Ends this process when its parent has ended, also when the parent was killed with SIGKILL.

The parent keeps the writing end of a pipe open for as long as it lives; the child has the reading end as its standard
input, and ends when that reads end-of-file. The kernel closes the pipe of a parent that can send no signal any more,
and it does so on every POSIX system alike.
"""

from __future__ import annotations

import os
import signal
import threading

ENVIRONMENT = "YURT_LIFELINE"
"""Set to ``stdin`` for a child whose standard input is such a pipe."""

_GRACE_SECONDS = 10.0
_STDIN = 0


def watch() -> None:
    """Call in the child: once the parent has ended, sends this process SIGTERM, and SIGKILL 10 s later.

    Does nothing unless ``ENVIRONMENT`` is set. Removes it, so that the child's own children do not inherit it.
    """
    if os.environ.pop(ENVIRONMENT, None) == "stdin":
        threading.Thread(target=_wait_for_end, name="parent-death", daemon=True).start()


def _wait_for_end() -> None:
    while os.read(_STDIN, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
