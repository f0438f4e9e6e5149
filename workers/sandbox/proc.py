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


def file_bytes(use: ProcessUse) -> int:
    """Return how much of a process's resident memory are pages of files that it has mapped; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{use.pid}/status").read_bytes().splitlines()
    except (ProcessLookupError, FileNotFoundError):
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(b"RssFile:"))


def share_bytes(use: ProcessUse, apart_bytes: int = 0) -> int:
    """Return a process's memory where each page counts for its share of those that have it; 0 when it has ended.

    Up to ``apart_bytes`` of the pages of mapped files are left out. Kernels before 5.4 do not tell these pages apart:
    there, what is left out may be any memory.
    """
    if (rollup := _rollup(use.pid)) is None:
        return use.resident_bytes
    whole = rollup.get(b"Pss:", 0)
    return whole + rollup.get(b"SwapPss:", 0) - min(apart_bytes, rollup.get(b"Pss_File:", whole))


def _rollup(pid: int) -> dict[bytes, int] | None:
    """Bytes by name, of all that a process has mapped; None where it hides them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
    except (ProcessLookupError, FileNotFoundError):
        return {}
    except PermissionError:  # a process may hide it
        return None
    return {fields[0]: 1024 * int(fields[1]) for line in lines if (fields := line.split())[-1:] == [b"kB"]}


def newest_pid() -> int:
    """Return the pid that was given to a process or thread last."""
    return int(Path("/proc/loadavg").read_bytes().split()[4])


def every_pid() -> list[int]:
    """Return the pids of all processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
