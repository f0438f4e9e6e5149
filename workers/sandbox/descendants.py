"""Kills a child and every process that it started."""

from __future__ import annotations

import os
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress

from workers.sandbox import proc

_ROUNDS = 20
"""Enough for processes that do not fork faster than they are found."""


def kill(leader: int) -> None:
    """SIGKILL the process group that ``leader`` leads and every descendant that left it.

    The group is stopped first: a stopped process does not fork, and while the leader lives, the orphaned processes
    that it has adopted (``workers.sandbox.child.orphans``) are found below it. Where there is no ``/proc``, only the
    group is reached. Returns at once; a process that has ended already is no error.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGSTOP)
    # Again until a round finds none: a process outside the group can fork between being listed and being killed.
    for _ in range(_ROUNDS):
        if not _kill_each(_outside_group(leader, group=leader)):
            break
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def kill_below(process: int) -> None:
    """SIGKILL every living descendant of ``process`` that can be found. Nothing where there is no ``/proc``."""
    _kill_each(_outside_group(process, group=-1))


def _kill_each(processes: list[int]) -> bool:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
    return bool(processes)


def _outside_group(leader: int, *, group: int) -> list[int]:
    """Living descendants of ``leader`` in other process groups than ``group``."""
    if sys.platform != "linux":
        return []
    children: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for process, state, parent, its_group in _processes():
        children[parent].append((process, its_group != group and state not in proc.ENDED))
    outsiders: list[int] = []
    pending = [leader]
    while pending:
        for process, outside in children.pop(pending.pop(), []):
            pending.append(process)
            if outside:
                outsiders.append(process)
    return outsiders


def _processes() -> Iterator[tuple[int, bytes, int, int]]:
    """Pid, state, parent and group of each process."""
    for pid in proc.every_pid():
        if fields := proc.fields_of(pid):
            state, parent, group, *_ = fields
            yield pid, state, int(parent), int(group)
