"""Lists, redrives and forgets parked objects.

A redrive or forget changes only rows that are still parked when they are locked, so a new event that comes first wins.
A call is one transaction over one page at most; the next one begins where it ended and goes towards the past. So an
object that is parked again at once is not changed a second time.
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
    """Filter of parked objects. None matches all of them. The fields are the statements' first arguments, in order."""

    pipeline: str | None = None
    reason: str | None = None
    prefix: str | None = None
    """Prefix of the key."""
    key: str | None = None
    older_seconds: float | None = None
    """Parked for at least so long."""
    newer_seconds: float | None = None
    """Parked for at most so long."""
    ids: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class BulkResult:
    """Number of objects that one redrive or forget changed, and where the next call begins."""

    objects: int
    after: Cursor | None
    """Cursor for the next call. None: there are no more."""


class ParkedObjects:
    """Parked objects of a ledger. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def page(self, which: ParkedQuery, after: Cursor | None, most: int) -> list[asyncpg.Record]:
        """Return one page, newest first: the first one, or the one after a cursor."""
        return await self._ledger.fetch("parked_page", *_arguments(which, after), most)

    async def counts(self, which: ParkedQuery) -> list[asyncpg.Record]:
        """Count the matching objects by pipeline and reason, most first."""
        return await self._ledger.fetch("parked_counts", *astuple(which))

    async def one(self, id: int) -> asyncpg.Record | None:
        """Return one parked object with all its fields, or None."""
        rows = await self._ledger.fetch("parked_object", id)
        return rows[0] if rows else None

    async def redrive(self, which: ParkedQuery, after: Cursor | None = None, most: int = MAX_PAGE) -> BulkResult:
        """Make up to ``most`` of them due now, in the lane they were parked in, with all their attempts before them.

        The error stays until the next settlement.
        """
        return await self._move("redrive", which, after, most)

    async def forget(self, which: ParkedQuery, after: Cursor | None = None, most: int = MAX_PAGE) -> BulkResult:
        """End the changes of up to ``most`` objects as ``forgotten``, without processing them. Their outputs stay."""
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
    """Count the changes that a forget ended, or notify the replicas of objects that a redrive made due."""
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
