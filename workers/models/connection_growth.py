"""Chooses over how many connections a model is fetched: more, for as long as more bring more."""

from __future__ import annotations

FEWEST = 4
MOST = 16
_STEP = 4
_GAIN = 1.1
"""By which the throughput has to grow, for more connections to be worth it."""


class ConnectionGrowth:
    """The number of connections of one download. It only grows: idle ones cost nothing."""

    def __init__(self, fewest: int = FEWEST, most: int = MOST) -> None:
        self._most = most
        self._best = 0.0
        self.count = min(fewest, most)

    def measured(self, bytes_per_second: float) -> int:
        """Take a measurement of the throughput, and return how many connections there should be."""
        if bytes_per_second > self._best * _GAIN:
            self._best = bytes_per_second
            self.count = min(self.count + _STEP, self._most)
        return self.count
