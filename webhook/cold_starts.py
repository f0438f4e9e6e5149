"""Observes cold starts: how long each step of a machine's start took, from the order to the first result.

A step is observed once the machine has had its first result, or its first server takes requests, whichever comes first,
and by every replica: all of them read the same rows.
"""

from __future__ import annotations

from prometheus_client import Histogram

from webhook.ledger.ledger import Ledger
from webhook.ledger.machines import START_PHASES

_OVERLAP_SECONDS = 60.0
"""What ends a start is written a moment before others can read it: what lies back for no longer is read again."""


class ColdStarts:
    """Feeds a histogram of the steps of cold starts from the ledger."""

    def __init__(self, histogram: Histogram) -> None:
        """``histogram`` has the labels ``pool`` and ``phase``."""
        self._histogram = histogram
        self._since: float | None = None
        """What ended since this moment is read, in seconds since 1970; None: not begun."""
        self._observed: dict[int, float] = {}
        """Machines that were observed, by their number, and when their starts ended: those read again."""

    async def refresh(self, ledger: Ledger) -> None:
        """Observe the machines whose start has ended since the last time. Raises LedgerUnavailable."""
        rows = await ledger.fetch("cold_starts", self._since)
        if self._since is None:  # what was before this process began is history
            self._observed = {row["id"]: row["moment"] for row in rows}
        for row in rows:
            if row["id"] not in self._observed:
                self._observed[row["id"]] = row["moment"]
                self._observe(row["pool"], {phase: row[f"{phase}_seconds"] for phase in START_PHASES})
        self._since = max(self._observed.values(), default=0.0) - _OVERLAP_SECONDS
        self._observed = {id: moment for id, moment in self._observed.items() if moment >= self._since}

    def _observe(self, pool: str, seconds: dict[str, float | None]) -> None:
        for phase, value in seconds.items():
            if value is not None:
                self._histogram.labels(pool, phase).observe(value)
