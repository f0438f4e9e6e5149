"""Chooses over how many connections a model is fetched: more, for as long as more bring more."""

from __future__ import annotations

FEWEST = 4
MOST = 16
_STEP = 4
_GAIN = 1.1
"""By which the throughput has to grow, for more connections to be worth it."""
_PATIENCE = 2
"""Measurements in which new connections have to show what they bring: they begin slowly."""
_AGAIN = 20
"""Measurements after which more are tried again: the network may have become another."""


class ConnectionGrowth:
    """The number of connections of one download. Those that brought nothing are given up: they cost processor time."""

    def __init__(self, fewest: int = FEWEST, most: int = MOST) -> None:
        self._most = most
        self._best = 0.0
        self._worth = self.count = min(fewest, most)
        self._waited = 0

    def measured(self, bytes_per_second: float) -> int:
        """Take a measurement of the throughput, and return how many connections there should be."""
        self._waited += 1
        if bytes_per_second > self._best * _GAIN:
            self._worth = self.count
            self._try_more(bytes_per_second)
        elif self.count > self._worth and self._waited >= _PATIENCE:
            self.count, self._waited = self._worth, 0
        elif self._waited >= _AGAIN:
            self._try_more(bytes_per_second)
        return self.count

    def _try_more(self, bytes_per_second: float) -> None:
        self._best, self._waited = bytes_per_second, 0
        self.count = min(self.count + _STEP, self._most)
