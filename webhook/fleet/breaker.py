"""Circuit breaker: stops minting for a pool whose machines do not start, since a crash loop costs money."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

BreakerState = Literal["closed", "open", "probing"]


class Breaker:
    """Counts failed starts in a row. After ``failures`` nothing is minted for ``seconds``, then one is tried.

    Success closes it, another failure opens it again. After a failure no more start at once than open it.
    """

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._until = 0.0
        self._paused_until = 0.0
        self._why_paused = ""
        self.failures = 0
        """Failed starts since the last that succeeded."""

    @property
    def state(self) -> BreakerState:
        """Open: nothing is minted. Probing: one machine at a time."""
        if self.failures < self._limit:
            return "closed"
        return "open" if self._clock() < self._until else "probing"

    def allowance(self, starting: int) -> int:
        """How many more may be minted while ``starting`` have not called home."""
        if self.state == "open" or self._clock() < self._paused_until:
            return 0
        if self.state == "probing":
            return max(0, 1 - starting)
        return max(0, self._limit - self.failures - starting) if self.failures else 1_000_000

    def failed(self, *, final: bool = False) -> bool:
        """Count a failed start; one that no retry can mend counts for all. Returns whether it is open."""
        self.failures = max(self.failures + 1, self._limit if final else 0)
        if self.failures >= self._limit:
            self._until = self._clock() + self._seconds
        return self.state == "open"

    def succeeded(self) -> None:
        """A machine called home."""
        self.failures = 0

    def pause(self, seconds: float, why: str = "") -> None:
        """Mint nothing for so long; it is no failure. Of several pauses the one that ends last has the say."""
        if (until := self._clock() + seconds) > self._paused_until:
            self._paused_until, self._why_paused = until, why

    @property
    def why_paused(self) -> str:
        """What `pause` was given, while it lasts. Empty: there is none."""
        return self._why_paused if self._clock() < self._paused_until else ""
