"""Sets the kernel's limits for one job, in a process that is reused.

Where a system has no such limit (macOS does not enforce ``RLIMIT_AS``) the others still hold, and the agent's
wall clock always does.
"""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def applied(*, cpu_seconds: float, memory_bytes: int, output_bytes: int) -> Iterator[None]:
    """Limit this process, and each that it starts, for the time of one job.

    Processor time counts from now, in whole seconds rounded up; over it the kernel sends SIGXCPU. Memory is
    address space on top of what is mapped now, so that interpreter and libraries are not held against the
    job; what the allocator has kept from earlier jobs (128 MiB at most) comes for free. A file that grows
    over ``output_bytes`` fails with EFBIG.
    """
    # The kernel counts processor time from the start of the process, of which earlier jobs have used some.
    used = resource.getrusage(resource.RUSAGE_SELF)
    _soft(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + cpu_seconds))
    _soft(resource.RLIMIT_FSIZE, output_bytes)
    _soft(resource.RLIMIT_AS, mapped_bytes() + memory_bytes)
    try:
        yield
    finally:
        for limit in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU):
            _soft(limit, resource.RLIM_INFINITY)


def no_core_dumps() -> None:
    """Turn core dumps off: a crash must not fill the disk with a copy of a user's photo."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def mapped_bytes() -> int:
    """Address space of this process in bytes; 0 where the system does not report it."""
    return _statm(0)


def resident_bytes() -> int:
    """Resident memory of this process in bytes; its peak where the system reports no more (macOS)."""
    return _statm(1) or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def cpu_seconds() -> float:
    """Processor time of this process and of those that it started and has waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def peak_bytes() -> int:
    """Most resident memory so far: of this process, or of one that it started and has waited for."""
    peak = max(resource.getrusage(which).ru_maxrss for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak if sys.platform == "darwin" else peak * 1024  # getrusage(2): KiB, on macOS bytes


def _statm(field: int) -> int:
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_bytes().split()[field]) * resource.getpagesize()


def _soft(limit: int, value: int) -> None:
    """Move the soft limit only: the hard one could never be raised again."""
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY and (value == resource.RLIM_INFINITY or value > hard):
        value = hard
    try:
        resource.setrlimit(limit, (value, hard))
    except (ValueError, OSError):
        if sys.platform == "linux":  # elsewhere a limit that cannot be set is one that the system does not have
            raise
