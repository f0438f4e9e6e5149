"""Keeps the outbox of callbacks: what apps are to be told of settled objects, until it is told or given up.

A pipeline's outbox follows the log of settles (`webhook.ledger.settles`) by a position that is moved in the transaction
that adds what comes after it. The log is written by the transaction that settles an object. So nothing that is settled
is left out, and nothing is in the outbox twice, when a process is killed in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import asyncpg

from webhook.ledger.ledger import Ledger
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

FEED_BATCH = 1_000
"""Settles of the log that one transaction looks at."""
GIVE_UP_SECONDS = 3 * 86_400.0
"""From a callback's first attempt until it is given up."""
MAX_PAGE = 1_000
_ERROR_CHARACTERS = 500

CallbackState = Literal["waiting", "told", "given-up"]


@dataclass(frozen=True, slots=True)
class ClaimedCallback:
    """One callback, of which an attempt begins."""

    id: int
    message: UUID
    """The same at each attempt."""
    position: int
    key: str
    settled_as: Literal["done", "parked", "gone"]
    etag: str | None
    token: int | None
    reason: str | None
    explanation: str | None
    settled_at: datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class ReplayedCallbacks:
    """How many callbacks wait again, and how many do not since a later one of their object is there."""

    replayed: int
    outdated: int


class CallbackOutbox:
    """The outboxes in a ledger. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def begin(self, pipeline_id: int) -> None:
        """Have an outbox for a pipeline: from now on what is settled is told."""
        await self._ledger.fetch("begin_callback_feed", pipeline_id)

    async def feed(self, pipeline_id: int) -> int:
        """Put what the log has more into a pipeline's outbox. Returns the number of callbacks that were added."""
        added = 0
        while True:
            rows = await self._ledger.fetch("callback_feed_behind", pipeline_id)
            if not rows or not rows[0]["behind"]:
                return added
            added += await self._ledger.database.transact(lambda connection: _feed(connection, pipeline_id))

    async def claim(self, pipeline_id: int, most: int, *, seconds: float, url_hash: bytes) -> list[ClaimedCallback]:
        """Begin attempts of up to ``most`` callbacks that are due: for ``seconds`` no other replica begins them too.

        Of each object it is the one that was settled first. None while the receiver of that URL is off.
        """
        rows = await self._ledger.fetch("claim_callbacks", pipeline_id, most, seconds, url_hash)
        return [ClaimedCallback(*row) for row in rows]

    async def taken(self, claimed: ClaimedCallback, status: int) -> bool:
        """Note that the receiver has taken it. Returns whether another one of the object has waited for that."""
        rows = await self._ledger.fetch("callback_told", claimed.id, claimed.attempt, status)
        return bool(rows and rows[0]["more"])

    async def failed(self, claimed: ClaimedCallback, after_seconds: float, status: int | None, error: str) -> None:
        """Try it again after some seconds, or give it up three days after its first attempt."""
        await self._ledger.fetch(
            "callback_failed", claimed.id, claimed.attempt, after_seconds, status, error[:_ERROR_CHARACTERS],
            GIVE_UP_SECONDS,
        )  # fmt: skip

    async def turn_off(self, pipeline_id: int, url_hash: bytes) -> None:
        """Tell the receiver at that URL nothing more."""
        await self._ledger.fetch("callback_receiver_off", pipeline_id, url_hash)

    async def give_up(self, pipeline_id: int) -> None:
        """Give up what has waited for three days for a receiver that is off."""
        await self._ledger.fetch("give_up_callbacks", pipeline_id, GIVE_UP_SECONDS, FEED_BATCH)

    async def replay(
        self, pipeline_id: int, state: CallbackState | None, ids: Sequence[int] | None, *, dry_run: bool
    ) -> ReplayedCallbacks:
        """Tell again what has ended, of each object the latest alone. A receiver that is off is told again."""

        async def write(connection: Connection) -> ReplayedCallbacks:
            # The lock keeps a newer callback of one of these objects out until this is committed.
            await connection.fetch(QUERIES["lock_callback_feed"], pipeline_id)
            row = await connection.fetchrow(
                QUERIES["replay_callbacks"], pipeline_id, state, None if ids is None else list(ids), dry_run
            )
            assert row is not None
            return ReplayedCallbacks(row["replayed"], row["outdated"])

        return await self._ledger.database.transact(write)

    async def page(
        self, pipeline: str | None, state: CallbackState | None, key: str | None, before: int | None, most: int
    ) -> list[asyncpg.Record]:
        """Callbacks, the newest first."""
        return await self._ledger.fetch("callback_page", pipeline, state, key, before, most)

    async def one(self, id: int) -> asyncpg.Record | None:
        """One callback, or None."""
        rows = await self._ledger.fetch("callback", id)
        return rows[0] if rows else None

    async def counts(self) -> list[asyncpg.Record]:
        """By pipeline what became of its callbacks."""
        return await self._ledger.fetch("callback_counts")


async def _feed(connection: Connection, pipeline_id: int) -> int:
    # Two statements: the second one sees what was committed until the lock was had.
    position = await connection.fetchval(QUERIES["lock_callback_feed"], pipeline_id)
    added: int | None = await connection.fetchval(QUERIES["feed_callbacks"], pipeline_id, position, FEED_BATCH)
    return added or 0
