"""Limits of a pipeline that decide what becomes of a leased object: attempts, backoff, lag, length of a lease."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

SLOWEST_BYTES_PER_SECOND = 128 << 10
"""Rate for which leases have time: an input's bytes over this is the longest time for its transfer and its outputs'."""
_LARGEST_BYTES = 10**13
"""As in the statement ``extend``."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A pipeline's limits: attempts before parking, backoff between them, and how late the store may be."""

    attempts: int
    """Failed attempts after which the object is parked."""
    store_attempts: int
    """Faults of the store after which the object is parked."""
    absent_checks: int
    """404 answers in a row that are needed before the object is taken for gone."""
    backoff_seconds: float
    """Wait after the first failed attempt; doubles with each."""
    backoff_limit_seconds: float
    replica_lag_seconds: float = 0
    """How far a region may lag behind the one that sent an event. 0: the store is strongly consistent."""
    restores: bool = False
    """Whether the control plane has archived objects restored."""
    restore_seconds: float = 300
    """Between two checks whether an object was restored."""
    lease_limit_seconds: float = math.inf
    """Longest life of a worker's lease of an empty object, renewed or not."""
    second_opinion: bool = False
    """Whether an object is parked only after a second worker has tried it."""

    def longest_lease_seconds(self, size_bytes: int) -> float:
        """Longest life of a worker's lease, renewed or not: a large object takes long over a slow line."""
        return self.lease_limit_seconds + min(size_bytes, _LARGEST_BYTES) / SLOWEST_BYTES_PER_SECOND

    def delay_seconds(self, attempts: int, jitter: Callable[[], float]) -> float:
        """Wait before the next attempt: exponential backoff, times a jitter from [0.5, 1.0)."""
        # The exponent is limited, since 2.0 ** 1024 overflows and a row counts up to 32,000 attempts.
        exponential = self.backoff_seconds * 2.0 ** min(attempts - 1, 30)
        return min(self.backoff_limit_seconds, exponential) * (0.5 + jitter() / 2)


DEFAULT_POLICY = Policy(
    attempts=5,
    store_attempts=50,
    absent_checks=3,
    backoff_seconds=1.0,
    backoff_limit_seconds=300.0,
    replica_lag_seconds=30.0,
)
"""For objects of a pipeline that this process's configuration does not name.

Another replica's configuration may name it, or the pipeline was removed from all of them.
"""
