"""Waits until replicas listen for wakeups, and until workers poll."""

from __future__ import annotations

from tests.polling import until
from tests.webhook.plane import RunningPlane


async def listening(plane: RunningPlane, connections: int) -> None:
    """Wait until so many replicas listen to the ledger's wakeups."""

    async def all_listen() -> bool:
        listeners = await plane.sql(
            "select from pg_stat_activity where datname = current_database() and query ilike 'listen %'"
        )
        return len(listeners) == connections

    await until(all_listen)


async def polling(plane: RunningPlane) -> bool:
    """Whether a long poll has found no work and waits for a wakeup."""
    return plane.services.wakeups.waiting > 0
