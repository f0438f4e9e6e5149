"""Sweeps in the ledger: what was ordered, how far each came, and what a page of a listing brings.

A page is one transaction: what it brings, what is counted, and the place to go on from. So a sweep that is cut off
anywhere goes on behind the last page that was committed, on whatever replica.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import asyncpg

from webhook.events import ListedObject, ObjectEvent, mark_of
from webhook.ledger.coalescing import CounterIncrements
from webhook.ledger.database import Database
from webhook.ledger.ledger import Intake, Ledger
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

SweepKind = Literal["backfill", "recent", "full"]
SweepState = Literal["wanted", "running", "done", "failed", "cancelled"]
SweepStage = Literal["inputs", "outputs"]

COUNTED = ("listed", "found", "adopted", "missing", "orphaned", "removed")
"""Counters of the ledger that sweeps add to."""

END = "\U0010ffff" * 257
"""After every key: a key has at most 1,024 bytes."""


@dataclass(frozen=True, slots=True)
class SweepOrder:
    """What somebody wants to be swept."""

    pipeline_id: int
    kind: SweepKind
    prefix: str
    since: datetime | None = None
    """Only objects written after that."""
    dry_run: bool = False
    pages_per_second: float = 0
    """0: as fast as it goes."""
    scheduled: bool = False
    new_since: datetime | None = None
    """Of objects that the ledger has no row of, only those written after that: the others were pruned, or were there
    before the pipeline was."""


@dataclass(frozen=True, slots=True)
class SweepCounts:
    """What was seen and done, in objects."""

    pages: int = 0
    listed: int = 0
    known: int = 0
    found: int = 0
    """Recorded as work: the ledger did not know this content."""
    adopted: int = 0
    """Taken in from the manifests of results that were there."""
    missing: int = 0
    """Known, and not listed any more: the store is asked about each."""
    orphaned: int = 0
    """Objects that are not there, or that the ledger does not know, with outputs that are."""
    removed: int = 0
    """Outputs that no result has any more, removed."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep, as it stands."""

    id: int
    order: SweepOrder
    state: SweepState
    stage: SweepStage
    cursor: str
    """The last key of this stage that is done; "" before the first."""
    adopts: bool | None
    """Whether there may be results of before to take in. None: nobody has looked yet."""
    failures: int
    """Pages that failed in a row."""
    tally: SweepCounts
    error: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    moment: datetime
    """The ledger's clock when this was read."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in ("wanted", "running")


@dataclass(frozen=True, slots=True)
class UnknownObject:
    """A listed object whose content the ledger does not know."""

    listed: ListedObject
    row: bool
    """Whether the ledger knows anything of this key."""
    older: bool
    """Whether its Last-Modified is before that of the last result."""


@dataclass(frozen=True, slots=True)
class AdoptedResult:
    """A result of before."""

    listed: ListedObject
    token: int
    published: Mapping[str, str]
    """Output name to ETag, the manifest's own with them."""


@dataclass(frozen=True, slots=True)
class PageResult:
    """What a page brings, and where it leads."""

    stage: SweepStage
    cursor: str
    finished: bool
    tally: SweepCounts
    adopts: bool | None = None
    events: Sequence[ObjectEvent] = ()
    adopted: Sequence[AdoptedResult] = ()
    void: Sequence[str] = ()
    """Keys of which the result is not what was published: to be made anew."""


@dataclass(frozen=True, slots=True)
class KnownOutputs:
    """What the ledger knows of an object with outputs."""

    state: str
    settled: bool
    """Whether its result was complete before the sweep began."""
    token: int
    published: Mapping[str, str]
    """Output name to ETag."""


@dataclass(frozen=True, slots=True)
class LastSweep:
    """What the schedule has to know about one kind of sweep of a pipeline."""

    pipeline_id: int
    kind: SweepKind
    active: bool
    ordered_seconds: float | None
    """Since the last one was ordered; None: never."""
    error: str
    """Of the last one."""
    good_seconds: float
    """Since the last one that came through began, or since the ledger was made."""
    seen_until: datetime
    """Everything written well before this was seen."""
    new_since: datetime
    """What was written before this and has no row was pruned, or was there before the pipeline was."""


class Sweeps:
    """The ledger's side of sweeps. Every method raises LedgerUnavailable while the database is away."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._database: Database = ledger.database

    async def order(self, order: SweepOrder) -> Sweep:
        """Write down that a sweep is wanted."""
        swept = await self._one(
            "sweep_order", order.pipeline_id, order.kind, order.scheduled, order.prefix, order.since, order.dry_run,
            order.pages_per_second, order.new_since,
        )  # fmt: skip
        assert swept
        return swept

    async def get(self, id: int) -> Sweep | None:
        """One sweep, or None where there is none of that number."""
        return await self._one("sweep", id)

    async def newest(self, before: int, most: int) -> list[Sweep]:
        """Sweeps with lower numbers, newest first."""
        return [_sweep(row) for row in await self._ledger.fetch("sweeps", before, most)]

    async def due(self, pipelines: Sequence[int], but: Sequence[int], most: int) -> list[Sweep]:
        """Sweeps of these pipelines that want to go on, but for some."""
        return [_sweep(row) for row in await self._ledger.fetch("sweeps_due", list(pipelines), list(but), most)]

    async def begin(self, id: int) -> Sweep | None:
        """Note that it is under way. None: it is over."""
        return await self._one("sweep_begin", id)

    async def cancel(self, id: int, why: str | None = None) -> Sweep | None:
        """End a sweep where it is. None: it was over."""
        return await self._one("sweep_cancel", id, why)

    async def failed(self, id: int, error: str, again_seconds: float, most: int) -> Sweep | None:
        """Note that a page could not be done; after ``most`` in a row the sweep has failed. None: it was over."""
        return await self._one("sweep_failed", id, error[:1000].replace("\0", ""), again_seconds, most)

    async def last(self, pipelines: Sequence[int], done_days: int) -> list[LastSweep]:
        """How things stand, for the schedule. Rows of what is done are pruned after so many days; 0: never."""
        return [
            LastSweep(
                row["pipeline_id"], row["kind"], row["active"], row["ordered_seconds"], row["error"],
                row["good_seconds"], row["seen_until"], row["new_since"],
            )
            for row in await self._ledger.fetch("sweeps_last", list(pipelines), done_days)
        ]  # fmt: skip

    async def compare(self, sweep: Sweep, page: Sequence[ListedObject], lag_seconds: float) -> list[UnknownObject]:
        """Which of the listed objects have content that the ledger does not know."""
        rows = await self._ledger.fetch(
            "compare", sweep.order.pipeline_id, [item.key for item in page], [item.etag for item in page],
            [item.modified for item in page], sweep.moment, lag_seconds,
        )  # fmt: skip
        return [UnknownObject(page[row["position"]], not row["unknown"], row["older"]) for row in rows]

    async def missing(self, sweep: Sweep, until: str, listed: Sequence[str], most: int) -> list[str]:
        """Keys from the cursor up to another that had a result before the sweep began, and are not listed."""
        rows = await self._ledger.fetch(
            "missing", sweep.order.pipeline_id, sweep.order.prefix, sweep.cursor, until,
            sweep.started_at or sweep.moment, list(listed), most,
        )  # fmt: skip
        return [row["key"] for row in rows]

    async def known(self, sweep: Sweep, keys: Sequence[str]) -> dict[str, KnownOutputs]:
        """What is known of some objects, by key."""
        rows = await self._ledger.fetch(
            "outputs_known", sweep.order.pipeline_id, list(keys), sweep.started_at or sweep.moment
        )
        return {
            row["key"]: KnownOutputs(
                row["state"], row["settled"], row["token"] or 0, json.loads(row["published"] or "{}")
            )
            for row in rows
        }

    async def move(self, sweep: Sweep, brought: PageResult) -> Sweep | None:
        """Write what a page brings and move on, in one transaction.

        None: the sweep is over, or another replica has done this page; nothing was written.
        """
        order, tally = sweep.order, brought.tally
        counts = (tally.listed, tally.known, tally.found, tally.adopted, tally.missing, tally.orphaned, tally.removed)

        async def write(connection: Connection) -> Sweep | None:
            row = await connection.fetchrow(
                QUERIES["sweep_on"], sweep.id, sweep.stage, sweep.cursor,
                brought.stage, brought.cursor, brought.adopts, brought.finished, *counts,
            )  # fmt: skip
            if row is None:
                return None
            if not order.dry_run:
                await self._write(connection, sweep, brought)
            return _sweep(row)

        return await self._database.transact(write)

    async def _write(self, connection: Connection, sweep: Sweep, brought: PageResult) -> None:
        pipeline_id = sweep.order.pipeline_id
        if brought.void:
            began = sweep.started_at or sweep.moment
            await connection.execute(QUERIES["void"], pipeline_id, list(brought.void), began)
        if brought.adopted:
            await connection.execute(QUERIES["adopt"], pipeline_id, *_adopted_columns(brought.adopted))
        count = CounterIncrements()
        for name in COUNTED:
            count.add(pipeline_id, name, getattr(brought.tally, name))
        hints = [(pipeline_id, event) for event in brought.events]
        await self._ledger.record_in(connection, [Intake(hints)], count)

    async def _one(self, query: str, *arguments: object) -> Sweep | None:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(QUERIES[query], *arguments)
        return None if row is None else _sweep(row)


def _sweep(row: asyncpg.Record) -> Sweep:
    return Sweep(
        id=row["id"],
        order=SweepOrder(
            row["pipeline_id"], row["kind"], row["prefix"], row["since"], row["dry_run"], row["pages_per_second"],
            row["scheduled"], row["new_since"],
        ),
        state=row["state"],
        stage=row["stage"],
        cursor=row["cursor"],
        adopts=row["adopts"],
        failures=row["failures"],
        tally=SweepCounts(row["pages"], *(row[name] for name in ("listed", "known", *COUNTED[1:]))),
        error=row["error"] or "",
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        moment=row["moment"],
    )  # fmt: skip


def _known_outputs(row: asyncpg.Record) -> KnownOutputs:
    return KnownOutputs(row["state"], row["settled"], row["token"] or 0, json.loads(row["published"] or "{}"))


def _adopted_columns(adopted: Sequence[AdoptedResult]) -> tuple[list[object], ...]:
    rows = [
        (
            item.listed.key, mark_of("adopted", item.listed.etag, item.token), item.listed.etag, item.listed.size,
            item.listed.modified, item.token, json.dumps(dict(item.published)),
        )
        for item in adopted
    ]  # fmt: skip
    return tuple(list(column) for column in zip(*rows, strict=True))
