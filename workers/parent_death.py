"""A child process that cannot outlive its parent, whatever kills the parent.

The parent keeps the writing end of a pipe open for as long as it lives; the child holds the reading end as its standard
input and ends when that reads end-of-file. Works the same on every POSIX system, and needs no signal from a parent that
was killed with SIGKILL.
"""

from __future__ import annotations

import os
import signal
import threading

ENVIRONMENT = "YURT_LIFELINE"
"""Set to ``stdin`` for a child whose standard input is its lifeline."""

_GRACE_SECONDS = 10.0
_STDIN = 0


def hold() -> None:
    """In the child: when the parent is gone, send SIGTERM to this process, and SIGKILL if that did not end it.

    Does nothing for a process that was not started with a lifeline.
    """
    if os.environ.pop(ENVIRONMENT, None) == "stdin":
        threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    while os.read(_STDIN, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
