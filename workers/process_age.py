"""Tells for how long this process has run, as the kernel knows: a start begins before the first line of Python."""

from __future__ import annotations

import os
import time
from pathlib import Path

_LONGEST_SECONDS = 86_400.0
_START_TIME = 19
"""Position of the start time, in clock ticks since the machine booted, behind the program's name."""


def age_seconds() -> float | None:
    """Seconds since the process began, a day at most; None: the kernel does not say (it is not Linux)."""
    try:
        # The name may hold spaces and brackets: what counts stands behind its last bracket. See proc_pid_stat(5).
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        began = int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, AttributeError, IndexError, ValueError):
        return None
    return min(max(age, 0.0), _LONGEST_SECONDS)
