"""Reads what processes use from ``/proc``; see proc(5)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from workers.sandbox.child import limits

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What one process uses."""

    pid: int
    parent: int
    cpu_seconds: float
    """Its own processor time, and of the children that it has waited for."""
    resident_bytes: int
    """Memory that it shares with others counts whole."""


def own_number() -> int:
    """Return the number of this process."""
    return os.getpid()


def resident_bytes() -> int:
    """Return this process's resident memory; 0 where the system does not report it."""
    return limits.resident_bytes()


def use_of(pid: int) -> ProcessUse | None:
    """Return what a process uses; None when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name in parentheses may hold anything, closing parentheses too.
    fields = text.rpartition(b")")[2].split()
    if fields[0] in b"ZX":
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


def newest_number() -> int:
    """Return the number that was given to a process or thread last."""
    return int(Path("/proc/loadavg").read_bytes().split()[4])


def every_number() -> list[int]:
    """Return the numbers of all processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
