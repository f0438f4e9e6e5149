"""Counts what arrives by the hour, from which pools learn when work is likely.

Nothing is added to the transactions that accept events: their counters tell how many changes were accepted, and what
was added to these since the last look belongs to the hour that it is now. Both are written in one transaction, so that
each change is counted once. Requests of services are counted in the memory of the replica that they come to, which adds
them to the hour that it is now as it gives its sign of life (`webhook.proxy.sharing`): what a crash loses are those of
some seconds. There is a row for each pipeline or service and hour in which something arrived, of seven weeks: 1,176 for
each at most.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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


async def arrival_history(
    ledger: Ledger, pool: str, pipelines: Sequence[int], services: Collection[str] = ()
) -> ArrivalHistory:
    """What is known of a pool's pipelines, given by their numbers, of its services, and of its machines."""
    rows = await ledger.fetch("arrival_history", pipelines, [*services], MOST_WEEKS)
    [boot] = await ledger.fetch("usual_boot", pool)
    busy_weeks = {row["hour_of_week"]: row["busy_weeks"] for row in rows if row["hour_of_week"] is not None}
    return ArrivalHistory(rows[0]["weeks"], busy_weeks, boot["seconds"])


async def count_requests(ledger: Ledger, requests: Mapping[str, int]) -> None:
    """Add requests that have come to services to the hour that it is now.

    Counting begins for a service when it is first named: with 0, too.
    """
    await ledger.fetch("count_requests", [*requests], [*requests.values()])


async def count_arrivals(ledger: Ledger) -> None:
    """Add what was accepted since the last call to the hour that it is now."""

    async def write(connection: Connection) -> None:
        await connection.execute(QUERIES["lock_arrivals"])
        await connection.execute(QUERIES["count_arrivals"])

    await ledger.database.transact(write)
