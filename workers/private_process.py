"""Keeps what this process has in memory and in its environment from other processes of the same user.

On Linux any process may read ``/proc/PID/environ`` and ``/proc/PID/mem`` of another of the same user, or attach to it
as a debugger. A process that is not dumpable is open to root alone. The kernel makes a process dumpable again when it
runs another program, so each process of ours that holds secrets says it for itself, before it reads them.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4


def close_to_others() -> None:
    """Close this process's memory and environment to other processes of its user, and let it leave no core file.

    Core files are prevented on every system, the rest is Linux's. Raises OSError where the kernel refuses.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def is_closed() -> bool:
    """Whether this process is closed to others. True only on Linux."""
    return sys.platform == "linux" and not int(ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0))
