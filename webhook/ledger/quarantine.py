"""Lists quarantined events and replays them: parses their texts again, with a newer parser.

A text that can be parsed now is recorded like an event that has just been received: it gets its verdict, and its row
is deleted in the same transaction. A text that still cannot be parsed stays, with the present reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING

import asyncpg

from webhook.events import UnreadableEvent
from webhook.ledger.coalescing import Verdict
from webhook.ledger.cursor import Cursor
from webhook.ledger.leased_rows import storable
from webhook.ledger.ledger import Ledger, ReceivedEvents
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

MAX_SHOWN = 1_000
"""Most texts that one call lists."""
MAX_REPLAYED = 100
"""Most texts that one call replays, in one transaction: each may have 64 KiB."""

Read = Callable[[str, bytes], ReceivedEvents]
"""Parses a text, given the source's name. Raises UnreadableEvent."""


@dataclass(frozen=True, slots=True)
class QuarantineQuery:
    """Filter of quarantined texts. None matches all. The fields are the statement's first arguments, in order."""

    source: str | None = None
    reason: str | None = None
    """A part of the reason."""
    older_seconds: float | None = None
    """Received last at least so long ago."""
    newer_seconds: float | None = None
    """Received last at most so long ago."""
    ids: Sequence[int] | None = None


@dataclass(slots=True)
class ReplayResult:
    """Result of one replay: which texts were parsed, refused or truncated."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    """Verdicts on the events that were parsed."""
    read: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    """Number of each text that still cannot be parsed, and the reason."""
    truncated: list[int] = field(default_factory=list)
    """Texts of which only the beginning was kept: they cannot be parsed again."""
    after: Cursor | None = None
    """Cursor for the next call. None: there are no more."""


class QuarantinedTexts:
    """Quarantine of a ledger. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def page(self, which: QuarantineQuery, after: Cursor | None, most: int) -> list[asyncpg.Record]:
        """Return one page, newest first: the first one, or the one after a cursor."""
        return await self._ledger.fetch("quarantine_page", *_arguments(which, after), most)

    async def one(self, id: int) -> asyncpg.Record | None:
        """Return one quarantined event with its text, or None."""
        rows = await self._ledger.fetch("quarantined_text", id)
        return rows[0] if rows else None

    async def replay(
        self, which: QuarantineQuery, read: Read, after: Cursor | None, most: int, *, dry_run: bool
    ) -> ReplayResult:
        """Parse up to ``most`` texts again and record the events. With ``dry_run`` nothing is changed."""

        async def write(connection: Connection) -> ReplayResult:
            page = await connection.fetch(QUERIES["quarantine_page"], *_arguments(which, after), most)
            rows = await connection.fetch(QUERIES["lock_quarantined"], [row["id"] for row in page])
            result, intakes = _read(rows, read)
            if len(page) == most:
                result.after = Cursor(page[-1]["received_at"], page[-1]["id"])
            if not dry_run:
                await self._write(connection, result, intakes)
            return result

        return await self._ledger.database.transact(write)

    async def _write(self, connection: Connection, result: ReplayResult, intakes: Sequence[ReceivedEvents]) -> None:
        for verdicts in await self._ledger.record_in(connection, intakes):
            result.verdicts += verdicts
        await connection.execute(QUERIES["release"], result.read)
        await connection.execute(QUERIES["refuse"], list(result.refused), list(result.refused.values()))


def _read(rows: Sequence[asyncpg.Record], read: Read) -> tuple[ReplayResult, list[ReceivedEvents]]:
    result, intakes = ReplayResult(), []
    for row in rows:
        if row["truncated"]:
            result.truncated.append(row["id"])
            continue
        try:
            intakes.append(read(row["source"], row["raw"]))
        except UnreadableEvent as error:
            result.refused[row["id"]] = storable(str(error)[:1000])
        else:
            result.read.append(row["id"])
    return result, intakes


def _arguments(which: QuarantineQuery, after: Cursor | None) -> tuple[object, ...]:
    return (*astuple(which), *(after or (None, None)))
