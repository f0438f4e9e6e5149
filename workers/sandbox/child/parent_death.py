"""A child that ends with its agent, whatever ended the agent and whatever the child is doing.

The agent holds the writing end of a pipe on which nothing is ever written. When the agent is gone, SIGKILL
too, the kernel closes that end. On Linux the kernel then kills the child's whole process group by itself
(``F_SETSIG``, see fcntl(2)): no Python code has to run, so that a C call which holds the interpreter's lock
delays nothing. Elsewhere a thread waits for the end of the pipe.

``PR_SET_PDEATHSIG`` would only do harm beside it: it kills this one process, when the agent's thread that started it
ends, which may be before the pipe closes. This process's end of the pipe is gone by then, and with it the signal that
ends the rest of the group.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import threading


def die_with(lifeline: int) -> None:
    """Bind this process group to the process that holds the other end of ``lifeline`` (a file descriptor)."""
    os.set_inheritable(lifeline, False)
    if sys.platform == "linux":
        _kill_on_close(lifeline)
    else:
        threading.Thread(target=_watch, args=(lifeline,), name="lifeline", daemon=True).start()
    if select.select([lifeline], [], [], 0)[0]:  # closed before the kernel was told
        os.killpg(0, signal.SIGKILL)


def _kill_on_close(lifeline: int) -> None:
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _watch(lifeline: int) -> None:
    select.select([lifeline], [], [])
    os.killpg(0, signal.SIGKILL)
