"""Revokes a worker that is not to be trusted, and has all that it reported processed again by others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webhook.ledger.coalescing import CounterIncrements
from webhook.ledger.leased_rows import storable
from webhook.ledger.ledger import SHARDS, Ledger
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    import asyncpg

    from webhook.ledger.database import Connection

MAX_PAGE = 1_000
"""Objects that one call changes, in one transaction."""


@dataclass(frozen=True, slots=True)
class Distrusted:
    """What one call did."""

    known: bool
    """Whether the ledger has a row of the worker. Rows of machines long gone are pruned."""
    objects: int
    """Objects that are processed again."""
    after: int | None
    """Where the next call begins. None: there are no more."""


class Distrust:
    """Workers that were found out. Raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def distrust(self, worker_id: int, why: str, after: int = 0, most: int = MAX_PAGE) -> Distrusted:
        """Revoke the worker, take its leases back, and have up to ``most`` objects behind ``after`` processed again.

        These are the objects whose last result it reported, and those that are parked on its word. Their outputs stay
        until another worker's replace them.
        """

        async def write(connection: Connection) -> Distrusted:
            known = await self._revoke(connection, worker_id, storable(why))
            objects, following = await rework(connection, worker_id, after, most)
            return Distrusted(known, objects, following)

        return await self._ledger.database.transact(write)

    async def _revoke(self, connection: Connection, worker_id: int, why: str) -> bool:
        if await connection.fetchval(QUERIES["distrust"], worker_id, why) is None:
            return await connection.fetchval(QUERIES["distrust_gone"], worker_id, why) is not None
        await self._ledger.take_back(connection, worker_id, interrupted=True)
        return True


async def rework(
    connection: Connection, worker_id: int, after: int = 0, most: int = MAX_PAGE
) -> tuple[int, int | None]:
    """Have up to ``most`` objects that are done or parked on a worker's word processed again, in the caller's
    transaction. Returns their number, and where to go on (None: at the end).
    """
    page = await connection.fetch(QUERIES["by_worker"], worker_id, after, most)
    rows = await connection.fetch(QUERIES["lock_by_worker"], worker_id, [row["id"] for row in page])
    await connection.execute(QUERIES["rework"], [row["id"] for row in rows])
    await _count(connection, rows)
    return len(rows), page[-1]["id"] if len(page) == most else None


async def _count(connection: Connection, rows: Sequence[asyncpg.Record]) -> None:
    """Count the changes that begin, and notify the replicas of objects that became due."""
    count = CounterIncrements()
    for row in rows:
        count.add(row["pipeline_id"], "recheck", row["begins"])
    if rows:
        due = ",".join(map(str, sorted({row["pipeline_id"] for row in rows})))
        shard = random.randrange(SHARDS)  # noqa: S311 - no secret
        await connection.execute(QUERIES["count"], shard, *count.columns(), due)
