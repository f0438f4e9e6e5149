"""Limits the rate of calls by key with the generic cell rate algorithm (GCRA), in the memory of one replica.

For each key one number is kept: the theoretical arrival time, at which all calls so far would have been over had they
come at the allowed rate. A call is refused where that lies further ahead than the burst allows.

Source: ITU-T Recommendation I.371, "Traffic control and congestion control in B-ISDN", virtual scheduling algorithm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

_MOST_KEYS = 10_000
"""Known keys at which those that have long been silent are forgotten."""


class RateLimit:
    """Calls a second, and in a burst, for each of many keys."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arrivals: dict[Hashable, float] = {}

    def wait_seconds(self, key: Hashable, per_second: float, burst: int) -> float:
        """Take one call in. Returns 0, or after how many seconds one is allowed: then this one does not count."""
        now, interval = self._clock(), 1 / per_second
        arrival = max(self._arrivals.get(key, now), now)
        early = arrival - now - (burst - 1) * interval
        if early > 1e-9:  # sums of intervals are not exact
            return early
        if len(self._arrivals) >= _MOST_KEYS and key not in self._arrivals:
            # A key whose time has passed has its whole burst again, as one that is not known.
            self._arrivals = {known: at for known, at in self._arrivals.items() if at > now}
        self._arrivals[key] = arrival + interval
        return 0.0
