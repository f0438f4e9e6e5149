"""Drains workers whose leases end without a result far more often than those of others on the same pipeline.

Nothing that a worker says is weighed, only how its leases end: a failure that it reports, an object that it gives back
or keeps for too long. Files that are bad fail on every worker, so a worker is compared with the others; where there are
none, nothing can be said.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog

from webhook.ledger.fleet import LedgerFleet
from webhook.loops import STALLED_SECONDS, LoopHealth

log = structlog.get_logger()

LEAST_LEASES = 30
"""Leases of a worker on a pipeline before it is judged, and before others are compared with it."""
FAILING_PART = 0.5
"""Part of its leases without a result from which a worker is suspected,"""
FAR_MORE = 4.0
"""if that is so many times the part that is usual elsewhere."""
_LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """How the latest leases of one ready worker on one pipeline ended."""

    worker_id: int
    pipeline: str
    good: float
    bad: float

    @property
    def leases(self) -> float:
        """All of them."""
        return self.good + self.bad

    @property
    def failing(self) -> float:
        """Part of them that ended without a result."""
        return self.bad / self.leases if self.leases else 0.0


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A worker that is to be drained, and why."""

    worker_id: int
    why: str


def suspicions(records: Sequence[TrackRecord]) -> Iterator[Suspicion]:
    """Which workers fail far more often than the others on the same pipeline. Those on one pool are compared."""
    judged = [record for record in records if record.leases >= LEAST_LEASES]
    for record in judged:
        others = [r.failing for r in judged if r.pipeline == record.pipeline and r.worker_id != record.worker_id]
        if record.failing < FAILING_PART or not others:
            continue
        # The lower median: a worker that fails must not be hidden by a second one that fails.
        usual = statistics.median_low(others)
        if record.failing >= FAR_MORE * usual:
            why = (
                f"{record.failing:.0%} of its last {record.leases:.0f} objects of {record.pipeline} came to no result, "
                f"and {usual:.0%} of other workers'"
            )
            yield Suspicion(record.worker_id, why)


class ErrorBudget:
    """Compares the workers and drains the suspects. Runs on one replica."""

    def __init__(self, fleet: LedgerFleet, health: LoopHealth | None = None) -> None:
        self._fleet = fleet
        self._health = health or LoopHealth()

    async def run(self) -> None:
        """Compare now and then, until cancelled."""
        while True:
            with self._health.turn("error budgets", STALLED_SECONDS):
                await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Compare once. Raises LedgerUnavailable."""
        records = [
            TrackRecord(row["worker_id"], row["pipeline"], row["good"], row["bad"])
            for row in await self._fleet.track_records()
        ]
        for suspicion in suspicions(records):
            if await self._fleet.suspect(suspicion.worker_id, suspicion.why):
                log.warning("draining", worker=suspicion.worker_id, reason="errors", why=suspicion.why)
