"""Says how many machines a pool is to have before there is work: by its schedules, by wishes, by what it has learned.

The time is the database's, as that of everything else in the fleet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from webhook.fleet.fleet import Fleet
from webhook.fleet.learning import is_work_likely
from webhook.fleet.provider_calls import within
from webhook.ledger.arrivals import ArrivalHistory
from webhook.pool_schedule import scheduled_minimum
from webhook.pool_settings import Pool

_HISTORY_TIME = timedelta(minutes=5)
"""For which what arrived in earlier weeks is not read again."""


@dataclass(frozen=True, slots=True)
class AheadOfWork:
    """Machines that a pool is to have without any work, beside its ``minimum``, by the reason."""

    schedule: int = 0
    wake: int = 0
    learned: int = 0


NOTHING_AHEAD = AheadOfWork()


class Foresight:
    """Finds out what one pool is to have ahead of the work. Every call to the ledger has a deadline."""

    def __init__(self, pool: str, settings: Pool, fleet: Fleet, call_seconds: float) -> None:
        self._pool = pool
        self._settings = settings
        self._fleet = fleet
        self._call_seconds = call_seconds
        self._history = ArrivalHistory()
        self._read_at: datetime | None = None

    async def now(self) -> AheadOfWork:
        """What is wanted now. Raises TimeoutError, and errors of the ledger."""
        wish = await within(self._fleet.wished(self._pool), self._call_seconds)
        return AheadOfWork(
            schedule=scheduled_minimum(self._settings.schedules, wish.now),
            wake=wish.machines,
            learned=int(self._settings.learn and await self._expects_work(wish.now)),
        )

    async def _expects_work(self, now: datetime) -> bool:
        if self._read_at is None or abs(now - self._read_at) > _HISTORY_TIME:
            self._history = await within(self._fleet.arrivals(self._pool), self._call_seconds)
            self._read_at = now
        # Until a machine has booted, no more is known than that it has to within its deadline.
        boot_seconds = self._history.boot_seconds or self._settings.boot_seconds
        return is_work_likely(self._history, now, boot_seconds)
