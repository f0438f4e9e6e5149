"""Sets the kernel's limits for one job, in a process of its own.

Where a system has no such limit (macOS does not enforce ``RLIMIT_AS``) the others still hold, and the agent's
wall clock always does.
"""

from __future__ import annotations

import math
import resource
import sys
from pathlib import Path


def apply(*, cpu_seconds: float, memory_bytes: int, output_bytes: int) -> None:
    """Limit this process, and each that it starts, for good.

    Each process has these limits for itself; those of the whole job are the watch's (``workers.sandbox.child.watch``).
    Processor time is in whole seconds, rounded up, and one more; over it the kernel sends SIGXCPU, and SIGKILL a second
    later.
    Memory is address space on top of what is mapped now, so that interpreter and libraries are not held against the
    job. A file that grows over ``output_bytes`` fails with EFBIG.
    """
    seconds = math.ceil(cpu_seconds) + 1  # the kernel counts in ticks, the watch exactly
    _limit(resource.RLIMIT_CPU, seconds, seconds + 1)
    _limit(resource.RLIMIT_FSIZE, output_bytes, output_bytes)
    _limit(resource.RLIMIT_AS, mapped_bytes() + memory_bytes, mapped_bytes() + memory_bytes)


def no_core_dumps() -> None:
    """Turn core dumps off: a crash must not fill the disk with a copy of a user's photo."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def mapped_bytes() -> int:
    """Address space of this process in bytes; 0 where the system does not report it."""
    return _statm(0)


def resident_bytes() -> int:
    """Resident memory of this process in bytes; 0 where the system does not report it."""
    return _statm(1)


def cpu_seconds(used: resource.struct_rusage) -> float:
    """Processor time in seconds."""
    return used.ru_utime + used.ru_stime


def peak_bytes(used: resource.struct_rusage) -> int:
    """Most resident memory in bytes."""
    return used.ru_maxrss if sys.platform == "darwin" else used.ru_maxrss * 1024  # getrusage(2): KiB, on macOS bytes


def _statm(field: int) -> int:
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_bytes().split()[field]) * resource.getpagesize()


def _limit(limit: int, soft: int, hard: int) -> None:
    """Lower both limits: a handler that could raise the soft one again would not be limited by it."""
    _, most = resource.getrlimit(limit)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    try:
        resource.setrlimit(limit, (soft, hard))
    except (ValueError, OSError):
        if sys.platform == "linux":  # elsewhere a limit that cannot be set is one that the system does not have
            raise
