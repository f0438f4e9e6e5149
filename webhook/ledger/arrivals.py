"""Counts what arrives by the hour, from which pools learn when work is likely.

Nothing is added to the transactions that accept events: their counters tell how many changes were accepted, and what
was added to these since the last look belongs to the hour that it is now. Both are written in one transaction, so that
each change is counted once. There is a row for each pipeline and hour in which something arrived, of seven weeks: 1,176
for a pipeline at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from webhook.ledger.ledger import Ledger
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

MOST_WEEKS = 6
"""Weeks that are looked back on."""


@dataclass(frozen=True, slots=True)
class ArrivalHistory:
    """When something arrived for a pool."""

    weeks: int = 0
    """Whole weeks up to now of which it is known: `MOST_WEEKS` at most."""
    busy_weeks: Mapping[int, int] = field(default_factory=dict)
    """By hour of the week (0: Monday from 0:00 to 1:00 UTC), in how many of them something arrived."""
    boot_seconds: float | None = None
    """How long the pool's latest machines took until they called home, in the middle; None: there is none."""


async def arrival_history(ledger: Ledger, pool: str, pipelines: Sequence[int]) -> ArrivalHistory:
    """What is known of a pool's pipelines, given by their numbers, and of its machines."""
    rows = await ledger.fetch("arrival_history", pipelines, MOST_WEEKS)
    [boot] = await ledger.fetch("usual_boot", pool)
    busy_weeks = {row["hour_of_week"]: row["busy_weeks"] for row in rows if row["hour_of_week"] is not None}
    return ArrivalHistory(rows[0]["weeks"], busy_weeks, boot["seconds"])


async def count_arrivals(ledger: Ledger) -> None:
    """Add what was accepted since the last call to the hour that it is now."""

    async def write(connection: Connection) -> None:
        await connection.execute(QUERIES["lock_arrivals"])
        await connection.execute(QUERIES["count_arrivals"])

    await ledger.database.transact(write)
