"""Descendants of this process, read from ``/proc``. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")
_TOKEN = b"YURT_TOKEN="


@dataclass(frozen=True, slots=True)
class LivingProcess:
    """A process that was alive when ``/proc`` was read."""

    pid: int
    parent: int
    started: str
    """Start time in clock ticks since boot: tells it from a later process with the same id."""
    state: str
    argv: tuple[str, ...]

    @property
    def is_agent(self) -> bool:
        """Whether it is an agent, which is one machine of the pool."""
        return self.argv[1:4] == ("-P", "-m", "workers")

    @property
    def is_handler(self) -> bool:
        """Whether it is a child process of an agent that runs handlers."""
        return self.argv[1:4] == ("-P", "-m", "workers.sandbox.child")

    @property
    def alive(self) -> bool:
        """Whether it is running or stopped, and no zombie."""
        now = _look(self.pid)
        return now is not None and now.started == self.started and now.state not in "ZX"

    def send(self, number: signal.Signals) -> bool:
        """Send a signal if it is alive. A pidfd makes sure that no later process with the same id gets it."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(handle, number)
                    return True
            finally:
                os.close(handle)
        return False

    def __str__(self) -> str:
        return f"{self.pid} {' '.join(self.argv) or '?'}"


def adopt_orphans() -> None:
    """Become the subreaper: descendants whose parents die become children of this process."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants() -> list[LivingProcess]:
    """All living descendants of this process."""
    children: dict[int, list[LivingProcess]] = {}
    for process in _all():
        children.setdefault(process.parent, []).append(process)
    found, waiting = list[LivingProcess](), [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += [process for process in below if process.state not in "ZX"]
        waiting += [process.pid for process in below]
    return found


def collect(known: Container[int]) -> None:
    """Reap adopted zombies. Children in ``known`` are reaped by the code that started them."""
    for process in _all():
        if process.parent == os.getpid() and process.state == "Z" and process.pid not in known and not process.argv:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


def once_token(process: LivingProcess) -> str:
    """The one-time token that an agent was started with, as its environment had it; "" where it cannot be read."""
    with contextlib.suppress(OSError):
        for entry in (_PROC / str(process.pid) / "environ").read_bytes().split(b"\0"):
            if entry.startswith(_TOKEN):
                return entry.removeprefix(_TOKEN).decode()
    return ""


def _all() -> Iterator[LivingProcess]:
    for entry in os.scandir(_PROC):
        if entry.name.isdigit() and (process := _look(int(entry.name))):
            yield process


def _look(pid: int) -> LivingProcess | None:
    try:
        # From the state on: the name before it may hold anything (proc_pid_stat(5)).
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(") ")[2].split()
        argv = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    return LivingProcess(pid, int(fields[1]), fields[19], fields[0], tuple(part for part in argv if part))
