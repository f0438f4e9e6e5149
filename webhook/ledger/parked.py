"""Parked objects, and what a person decides about them: work them again, or leave them.

Both change only rows that are still parked when they are locked, so whichever comes first wins, a person or an event.
A call is one transaction over a page at most; the next one begins where it ended and goes towards the past. So an
object that is parked again at once is not met a second time on the way.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Literal

import asyncpg

from webhook.ledger.coalescing import CounterIncrements
from webhook.ledger.cursor import Cursor
from webhook.ledger.ledger import SHARDS, Ledger
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

MAX_PAGE = 1_000
"""Rows that one call shows, or changes in one transaction."""


@dataclass(frozen=True, slots=True)
class ParkedQuery:
    """Which parked objects are meant. None matches every one. Field for field what the statements take first."""

    pipeline: str | None = None
    reason: str | None = None
    prefix: str | None = None
    """Of the key."""
    key: str | None = None
    older_seconds: float | None = None
    """Parked for at least so long."""
    newer_seconds: float | None = None
    """Parked for at most so long."""
    ids: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What one call changed."""

    objects: int
    after: Cursor | None
    """Where to go on. None: that was all."""


class ParkedObjects:
    """The parked rows of a ledger. Every method raises LedgerUnavailable while the database is away."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def page(self, which: ParkedQuery, after: Cursor | None, most: int) -> list[asyncpg.Record]:
        """The newest of them, or the next after a page's last."""
        return await self._ledger.fetch("parked_page", *_arguments(which, after), most)

    async def counts(self, which: ParkedQuery) -> list[asyncpg.Record]:
        """How many there are, by pipeline and reason, most first."""
        return await self._ledger.fetch("parked_counts", *astuple(which))

    async def one(self, id: int) -> asyncpg.Record | None:
        """All that is known of one object that is parked."""
        rows = await self._ledger.fetch("parked_object", id)
        return rows[0] if rows else None

    async def redrive(self, which: ParkedQuery, after: Cursor | None = None, most: int = MAX_PAGE) -> BulkResult:
        """Make up to ``most`` of them due now, in the lane they were parked in, with all their attempts before them.

        The error stays until the next settlement.
        """
        return await self._move("redrive", which, after, most)

    async def forget(self, which: ParkedQuery, after: Cursor | None = None, most: int = MAX_PAGE) -> BulkResult:
        """Leave up to ``most`` of them as they are: their changes end as ``forgotten``, their outputs stay."""
        return await self._move("forget", which, after, most)

    async def _move(
        self, verb: Literal["redrive", "forget"], which: ParkedQuery, after: Cursor | None, most: int
    ) -> BulkResult:
        async def write(connection: Connection) -> BulkResult:
            page = await connection.fetch(QUERIES["parked_page"], *_arguments(which, after), most)
            rows = await connection.fetch(QUERIES["lock_parked"], [row["id"] for row in page])
            await connection.execute(QUERIES[verb], [row["id"] for row in rows])
            await _count(connection, verb, [row["pipeline_id"] for row in rows])
            return BulkResult(len(rows), Cursor(page[-1]["parked_at"], page[-1]["id"]) if len(page) == most else None)

        return await self._ledger.database.transact(write)


def _arguments(which: ParkedQuery, after: Cursor | None) -> tuple[object, ...]:
    return (*astuple(which), *(after or (None, None)))


async def _count(connection: Connection, verb: str, pipelines: Sequence[int]) -> None:
    """Count the changes that ended, or tell every replica where something is due."""
    count = CounterIncrements()
    due = ""
    if verb == "forget":
        for pipeline_id in pipelines:
            count.add(pipeline_id, "forgotten")
    else:
        due = ",".join(map(str, sorted(set(pipelines))))
    if pipelines:
        shard = random.randrange(SHARDS)  # noqa: S311 - no secret
        await connection.execute(QUERIES["count"], shard, *count.columns(), due)
