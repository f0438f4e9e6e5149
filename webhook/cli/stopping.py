"""Ends a command on SIGTERM from its first moment on, also as process 1 of a container.

The kernel gives process 1 no default action for a signal: without a handler it ignores SIGTERM until it is killed.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

STOPPED = 128 + signal.SIGTERM
"""Exit status of a command that SIGTERM ended before it handled signals itself."""


def end_on_sigterm() -> None:
    """From now on SIGTERM ends this process with one line, until the command handles it itself."""
    signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one line, and the way out undisturbed
    os.write(2, b"yurt: stopped by SIGTERM before it had started\n")  # print() may be under way, and is not reentrant
    raise SystemExit(STOPPED)
