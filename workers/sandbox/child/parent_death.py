"""Ends a child, and all that it started, when its agent has ended.

The agent holds the writing end of a pipe on which nothing is ever written. When the agent is gone, by SIGKILL too, the
kernel closes that end. On Linux the kernel then kills the child's whole process group by itself (``F_SETSIG``, see
fcntl(2)): no Python code has to run, so that a C call which holds the interpreter's lock delays nothing. Elsewhere a
thread waits for the end of the pipe.

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


def end_with(parent_pipe: int) -> None:
    """Kill this process's group once the other end of ``parent_pipe`` (a file descriptor) is closed."""
    os.set_inheritable(parent_pipe, False)
    if sys.platform == "linux":
        _kill_on_close(parent_pipe)
    else:
        threading.Thread(target=_watch, args=(parent_pipe,), name="parent-death", daemon=True).start()
    # The agent may have ended before the kernel was asked for the signal: then none will ever come.
    if select.select([parent_pipe], [], [], 0)[0]:
        os.killpg(0, signal.SIGKILL)


def _kill_on_close(parent_pipe: int) -> None:
    fcntl.fcntl(parent_pipe, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(parent_pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(parent_pipe, fcntl.F_SETFL, fcntl.fcntl(parent_pipe, fcntl.F_GETFL) | os.O_ASYNC)


def _watch(parent_pipe: int) -> None:
    select.select([parent_pipe], [], [])
    os.killpg(0, signal.SIGKILL)
