"""Texts that could not be read, and reading them again: a parser that was mended makes good what it refused.

A text that can be read now is an event received anew: it goes through the same door as every other, gets its verdict,
and its row is deleted in the same transaction. One that still cannot be read stays, with today's reason.
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
from webhook.ledger.ledger import Intake, Ledger, storable
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

MAX_SHOWN = 1_000
"""Texts that one call lists."""
MAX_REPLAYED = 100
"""Texts that one call reads again, in one transaction: each may have 64 KiB."""

Read = Callable[[str, bytes], Intake]
"""What a source's text says, by the source's name. Raises BadEvent."""


@dataclass(frozen=True, slots=True)
class QuarantineQuery:
    """Which texts are meant. None matches every one. Field for field what the statement takes first."""

    source: str | None = None
    reason: str | None = None
    """Part of it."""
    older_seconds: float | None = None
    """Came last at least so long ago."""
    newer_seconds: float | None = None
    """Came last at most so long ago."""
    ids: Sequence[int] | None = None


@dataclass(slots=True)
class ReplayResult:
    """What one call came to."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    """On the texts that were read."""
    read: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    """Number of each text that still cannot be read, and why."""
    truncated: list[int] = field(default_factory=list)
    """Texts of which only the beginning was kept: nobody can read them again."""
    after: Cursor | None = None
    """Where to go on. None: that was all."""


class QuarantinedTexts:
    """The quarantine of a ledger. Every method raises LedgerUnavailable while the database is away."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def page(self, which: QuarantineQuery, after: Cursor | None, most: int) -> list[asyncpg.Record]:
        """The newest of them, or the next after a page's last."""
        return await self._ledger.fetch("quarantine_page", *_arguments(which, after), most)

    async def one(self, id: int) -> asyncpg.Record | None:
        """One with its text."""
        rows = await self._ledger.fetch("quarantined_text", id)
        return rows[0] if rows else None

    async def replay(
        self, which: QuarantineQuery, read: Read, after: Cursor | None, most: int, *, dry_run: bool
    ) -> ReplayResult:
        """Read up to ``most`` texts again, and take in what can be read. With ``dry_run`` nothing is changed."""

        async def write(connection: Connection) -> ReplayResult:
            page = await connection.fetch(QUERIES["quarantine_page"], *_arguments(which, after), most)
            rows = await connection.fetch(QUERIES["lock_quarantined"], [row["id"] for row in page])
            found, intakes = _read(rows, read)
            if len(page) == most:
                found.after = Cursor(page[-1]["received_at"], page[-1]["id"])
            if not dry_run:
                await self._write(connection, found, intakes)
            return found

        return await self._ledger.database.transact(write)

    async def _write(self, connection: Connection, found: ReplayResult, intakes: Sequence[Intake]) -> None:
        for verdicts in await self._ledger.record_in(connection, intakes):
            found.verdicts += verdicts
        await connection.execute(QUERIES["release"], found.read)
        await connection.execute(QUERIES["refuse"], list(found.refused), list(found.refused.values()))


def _read(rows: Sequence[asyncpg.Record], read: Read) -> tuple[ReplayResult, list[Intake]]:
    found, intakes = ReplayResult(), []
    for row in rows:
        if row["truncated"]:
            found.truncated.append(row["id"])
            continue
        try:
            intakes.append(read(row["source"], row["raw"]))
        except UnreadableEvent as error:
            found.refused[row["id"]] = storable(str(error)[:1000])
        else:
            found.read.append(row["id"])
    return found, intakes


def _arguments(which: QuarantineQuery, after: Cursor | None) -> tuple[object, ...]:
    return (*astuple(which), *(after or (None, None)))
