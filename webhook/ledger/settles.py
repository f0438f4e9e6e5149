"""Numbers the log of settled objects in an order that skips nothing, and follows it.

Each transaction that settles an object adds a row to the log, with an id that a sequence gave it before the commit. So
a row with a low id may appear after one with a higher id was read, and a reader that goes on "after the last id" would
skip it. Therefore rows get a *position* after they are committed: a transaction that holds a lock gives all rows that
it sees and that have none the next numbers. Positions become visible in their order and without gaps, so that "after
this position" skips nothing, on any replica and after a restored backup. An object's settles keep their order: the
later one drew its id after the earlier one was committed, since both lock the object's row.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import asyncpg

from webhook.ledger.coalescing import ObjectPlace
from webhook.ledger.ledger import Ledger
from webhook.ledger.queries import QUERIES
from webhook.loops import LoopHealth

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

BATCH = 1_000
"""Settles that one transaction numbers, or one statement reads."""
FOLLOWED = 200
"""Settles that followers are told of at once: they have to find time in between."""
WINDOW = 10_000
"""Positions that one statement looks through for those of some keys."""
TICK_SECONDS = 0.5
"""Between two looks for settles that no signal announced: of a replica that died before it could number them."""


@dataclass(frozen=True, slots=True)
class Settle:
    """One object that was settled."""

    position: int
    object_id: int
    pipeline_id: int
    key: str
    state: Literal["done", "parked", "gone"]
    changed: bool
    """False: the result is the one that was there before."""
    etag: str | None
    """Of the content that the result was made from."""
    token: int | None
    reason: str | None
    message: str | None
    settled_at: datetime


@dataclass(frozen=True, slots=True)
class LogEnd:
    """Which part of the log there is."""

    last: int
    """Position given last; 0: none."""
    pruned: int
    """Last position that was deleted; 0: none."""


Follower = Callable[[Sequence[Settle]], None]


class SettleLog:
    """The log of settled objects, as one replica numbers and follows it.

    Every method raises LedgerUnavailable while the database does not answer.
    """

    def __init__(self, ledger: Ledger, health: LoopHealth | None = None) -> None:
        self._ledger = ledger
        self._health = health or LoopHealth()
        self._wakeup = asyncio.Event()
        self._followers: dict[object, Follower] = {}
        self._position: int | None = None
        """Read last, by all followers. None: nobody follows, or the log's end is not known yet."""
        ledger.settled = self.wake

    # ── following ────────────────────────────────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """Look at the log now: an object was settled here, or another replica has numbered settles."""
        self._wakeup.set()

    @contextlib.contextmanager
    def following(self, follower: Follower) -> Iterator[None]:
        """Call ``follower`` with all settles from some moment on, in order, while the context lasts.

        `followed` tells when that moment has come.
        """
        mark = object()
        if not self._followers:
            self._position = None
        self._followers[mark] = follower
        self.wake()
        try:
            yield
        finally:
            del self._followers[mark]

    @property
    def position(self) -> int:
        """Up to here followers were told of everything; 0: nobody follows."""
        return self._position or 0

    async def followed(self) -> int:
        """Wait until the log is followed. Returns the position after which followers get everything."""
        while self._position is None:
            await self._follow()
        return self._position

    async def run(self) -> None:
        """Number settles and tell the followers of them, until cancelled."""
        while True:
            with self._health.turn("settle log"):
                while await self.number() == BATCH:
                    pass
                while self._followers and await self._follow() == FOLLOWED:
                    pass
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wakeup.wait()
            self._wakeup.clear()

    async def _follow(self) -> int:
        """Tell the followers of settles that they have not got. Returns their number."""
        before = self._position
        if before is None:
            end = await self.end()
            if self._position is None:
                self._position = end.last
            return 0
        settles = await self.after(before, FOLLOWED)
        if self._position != before:
            return 0  # another turn has told of them meanwhile
        if settles:
            self._position = settles[-1].position
            for follower in [*self._followers.values()]:
                follower(settles)
        return len(settles)

    # ── numbering and reading ────────────────────────────────────────────────────────────────────────────────────────

    async def number(self) -> int:
        """Give positions to settles that have none. Returns their number, `BATCH` at most."""
        [row] = await self._ledger.fetch("unnumbered_settles")
        return await self._ledger.database.transact(_number) if row["waiting"] else 0

    async def end(self) -> LogEnd:
        """Which part of the log there is."""
        [row] = await self._ledger.fetch("settles_end")
        return LogEnd(row["last"], row["pruned"])

    async def after(self, position: int, most: int = BATCH) -> list[Settle]:
        """Settles after a position, in their order."""
        return [_settle(row) for row in await self._ledger.fetch("settles_after", position, most)]

    async def latest_results(self, most: int) -> list[ObjectPlace]:
        """The objects that got a result last, on any replica: each once, the latest first, ``most`` settles of them."""
        rows = await self._ledger.fetch("latest_results", WINDOW, most)
        return [*dict.fromkeys((row["pipeline_id"], row["key"]) for row in rows)]

    async def between(self, after: int, up_to: int, pipelines: Sequence[int], prefix: str) -> list[Settle]:
        """Settles of some pipelines' keys below a prefix, after a position and up to one: `WINDOW` apart at most."""
        rows = await self._ledger.fetch("settles_between", after, min(up_to, after + WINDOW), list(pipelines), prefix)
        return [_settle(row) for row in rows]


async def _number(connection: Connection) -> int:
    # Two statements: the second one sees what was committed until the lock was had.
    last = await connection.fetchval(QUERIES["lock_numbering"])
    numbered: int | None = await connection.fetchval(QUERIES["number_settles"], last, BATCH)
    return numbered or 0


def _settle(row: asyncpg.Record) -> Settle:
    return Settle(*row)
