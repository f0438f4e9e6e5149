"""Reads what processes use from ``/proc``; see proc(5)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
ENDED = (b"Z", b"X")
"""States of a process that has ended and was not waited for yet."""


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What one process uses."""

    pid: int
    parent: int
    cpu_seconds: float
    """Its own processor time, and of the children that it has waited for."""
    resident_bytes: int
    """Memory that it shares with others counts whole."""


def fields_of(pid: int) -> list[bytes] | None:
    """Return a process's fields of ``/proc/PID/stat`` from its state on, the third; None when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name in parentheses may hold anything, closing parentheses too.
    return text.rpartition(b")")[2].split() or None


def use_of(pid: int) -> ProcessUse | None:
    """Return what a process uses; None when it has ended."""
    fields = fields_of(pid)
    if fields is None or fields[0] in ENDED:
        return None
    ticks = sum(map(int, fields[11:15]))
    return ProcessUse(pid, int(fields[1]), ticks / _TICKS, int(fields[21]) * _PAGE_BYTES)


def share_bytes(use: ProcessUse) -> int:
    """Return a process's memory where each page counts for its share of those that have it; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{use.pid}/smaps_rollup").read_bytes().splitlines()
    except (ProcessLookupError, FileNotFoundError):
        return 0
    except PermissionError:  # a process may hide it
        return use.resident_bytes
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith((b"Pss:", b"SwapPss:")))


def newest_pid() -> int:
    """Return the pid that was given to a process or thread last."""
    return int(Path("/proc/loadavg").read_bytes().split()[4])


def every_pid() -> list[int]:
    """Return the pids of all processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
