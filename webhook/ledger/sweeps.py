"""Stores sweeps in the ledger: orders, progress, and the findings of each page of a listing.

A page is one transaction: its findings, its counts and the sweep's new cursor. So a sweep that is interrupted resumes
after the last page that was committed, on any replica.
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
from webhook.ledger.ledger import Ledger, ReceivedEvents
from webhook.ledger.queries import QUERIES
from webhook.ledger.transitions import ResultVerdict

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

SweepKind = Literal["backfill", "recent", "full"]
SweepState = Literal["wanted", "running", "done", "failed", "cancelled"]
SweepStage = Literal["inputs", "outputs"]

COUNTED = ("listed", "found", "adopted", "missing", "orphaned", "removed")
"""Counters of the ledger that sweeps increment."""

END = "\U0010ffff" * 257
"""Sorts after every key, since a key has at most 1,024 bytes."""


@dataclass(frozen=True, slots=True)
class SweepOrder:
    """Order for one sweep, from a person or from the schedule."""

    pipeline_id: int
    kind: SweepKind
    prefix: str
    since: datetime | None = None
    """Only objects written after that are listed."""
    dry_run: bool = False
    pages_per_second: float = 0
    """Most pages a second. 0: no limit."""
    scheduled: bool = False
    new_since: datetime | None = None
    """Objects without a row are recorded only if written after that: older ones were pruned, or are older than the
    pipeline."""


@dataclass(frozen=True, slots=True)
class SweepCounts:
    """Counts of one page or of a whole sweep, in objects unless stated otherwise."""

    pages: int = 0
    listed: int = 0
    known: int = 0
    found: int = 0
    """Recorded as changes: the ledger did not know this content."""
    adopted: int = 0
    """Recorded as done from the manifests of earlier results."""
    missing: int = 0
    """In the ledger, but not listed any more: each is checked."""
    orphaned: int = 0
    """Inputs that are gone or unknown to the ledger, but have outputs."""
    removed: int = 0
    """Leftover and staged outputs that were removed."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep with its progress."""

    id: int
    order: SweepOrder
    state: SweepState
    stage: SweepStage
    cursor: str
    """Last key of this stage that was swept; "" before the first."""
    adopts: bool | None
    """Whether there may be earlier results to adopt. None: not known before the first page."""
    failures: int
    """Failed attempts at the present page, in a row."""
    counts: SweepCounts
    error: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    moment: datetime
    """Time of the ledger when this row was read."""

    @property
    def ended(self) -> bool:
        """Whether the sweep is done, failed or cancelled."""
        return self.state not in ("wanted", "running")


@dataclass(frozen=True, slots=True)
class UnknownObject:
    """A listed object whose content the ledger does not know."""

    listed: ListedObject
    row: bool
    """Whether the ledger has a row for this key."""
    older: bool
    """Whether the listed Last-Modified is before that of the last result."""


@dataclass(frozen=True, slots=True)
class AdoptedResult:
    """An earlier result, read from its manifest, of an object that has no row."""

    listed: ListedObject
    token: int
    published: Mapping[str, str]
    """Output name to ETag, the manifest included."""
    verdict: ResultVerdict | None = None
    """Of its checks."""


@dataclass(frozen=True, slots=True)
class PageResult:
    """Findings of one page, and the stage and cursor after it."""

    stage: SweepStage
    cursor: str
    finished: bool
    counts: SweepCounts
    adopts: bool | None = None
    events: Sequence[ObjectEvent] = ()
    adopted: Sequence[AdoptedResult] = ()
    invalidated: Sequence[str] = ()
    """Keys whose outputs are not those of their result: the objects are processed again."""


@dataclass(frozen=True, slots=True)
class KnownOutputs:
    """State and published outputs of an object, as the ledger has them."""

    state: str
    settled: bool
    """Whether its result was complete before the sweep began."""
    token: int
    published: Mapping[str, str]
    """Output name to ETag."""


@dataclass(frozen=True, slots=True)
class LastSweep:
    """The last scheduled sweep of one kind and pipeline, as the schedule needs it."""

    pipeline_id: int
    kind: SweepKind
    active: bool
    ordered_seconds: float | None
    """Since the last one was ordered; None: none was."""
    error: str
    """Error of the last one."""
    good_seconds: float
    """Since the last finished one began, or since the ledger was created."""
    seen_until: datetime
    """A finished sweep has seen everything that was written well before this."""
    new_since: datetime
    """An object without a row that was written before this was pruned, or is older than the pipeline."""


class Sweeps:
    """Sweeps of a ledger. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._database: Database = ledger.database

    async def order(self, order: SweepOrder) -> Sweep:
        """Record the order for a sweep."""
        swept = await self._one(
            "sweep_order", order.pipeline_id, order.kind, order.scheduled, order.prefix, order.since, order.dry_run,
            order.pages_per_second, order.new_since,
        )  # fmt: skip
        assert swept
        return swept

    async def get(self, id: int) -> Sweep | None:
        """Return one sweep, or None where there is none of that number."""
        return await self._one("sweep", id)

    async def newest(self, before: int, most: int) -> list[Sweep]:
        """Return sweeps with lower numbers than ``before``, newest first."""
        return [_sweep(row) for row in await self._ledger.fetch("sweeps", before, most)]

    async def due(self, pipelines: Sequence[int], running: Sequence[int], most: int) -> list[Sweep]:
        """Return sweeps of these pipelines that are due, except those that the caller runs already."""
        return [_sweep(row) for row in await self._ledger.fetch("sweeps_due", list(pipelines), list(running), most)]

    async def begin(self, id: int) -> Sweep | None:
        """Mark a sweep as running. None: it has ended."""
        return await self._one("sweep_begin", id)

    async def cancel(self, id: int, reason: str | None = None) -> Sweep | None:
        """Cancel a sweep; what it has recorded stays. None: it had ended."""
        return await self._one("sweep_cancel", id, reason)

    async def page_failed(self, id: int, error: str, retry_seconds: float, most: int) -> Sweep | None:
        """Count a failed page; after ``most`` in a row the sweep has failed. None: it had ended."""
        return await self._one("sweep_failed", id, error[:1000].replace("\0", ""), retry_seconds, most)

    async def last_scheduled(self, pipelines: Sequence[int], done_days: int) -> list[LastSweep]:
        """Return the last scheduled sweeps. Rows of finished objects are pruned after ``done_days``; 0: never."""
        return [
            LastSweep(
                row["pipeline_id"], row["kind"], row["active"], row["ordered_seconds"], row["error"],
                row["good_seconds"], row["seen_until"], row["new_since"],
            )
            for row in await self._ledger.fetch("sweeps_last", list(pipelines), done_days)
        ]  # fmt: skip

    async def compare(self, sweep: Sweep, page: Sequence[ListedObject], lag_seconds: float) -> list[UnknownObject]:
        """Return the listed objects whose content the ledger does not know."""
        rows = await self._ledger.fetch(
            "compare", sweep.order.pipeline_id, [item.key for item in page], [item.etag for item in page],
            [item.modified for item in page], sweep.moment, lag_seconds,
        )  # fmt: skip
        return [UnknownObject(page[row["position"]], not row["unknown"], row["older"]) for row in rows]

    async def missing(self, sweep: Sweep, until: str, listed: Sequence[str], most: int) -> list[str]:
        """Return keys from the cursor to ``until`` that had a result before the sweep began and are not listed."""
        rows = await self._ledger.fetch(
            "missing", sweep.order.pipeline_id, sweep.order.prefix, sweep.cursor, until,
            sweep.started_at or sweep.moment, list(listed), most,
        )  # fmt: skip
        return [row["key"] for row in rows]

    async def known(self, sweep: Sweep, keys: Sequence[str]) -> dict[str, KnownOutputs]:
        """Return state and published outputs of objects, by key."""
        rows = await self._ledger.fetch(
            "outputs_known", sweep.order.pipeline_id, list(keys), sweep.started_at or sweep.moment
        )
        return {row["key"]: _known_outputs(row) for row in rows}

    async def commit_page(self, sweep: Sweep, page: PageResult) -> Sweep | None:
        """Write a page's findings and move the cursor, in one transaction.

        None: the sweep has ended, or another replica has committed this page; nothing was written.
        """
        order, counts = sweep.order, page.counts
        columns = (
            counts.listed, counts.known, counts.found, counts.adopted, counts.missing, counts.orphaned, counts.removed,
        )  # fmt: skip

        async def write(connection: Connection) -> Sweep | None:
            row = await connection.fetchrow(
                QUERIES["sweep_advance"], sweep.id, sweep.stage, sweep.cursor,
                page.stage, page.cursor, page.adopts, page.finished, *columns,
            )  # fmt: skip
            if row is None:
                return None
            if not order.dry_run:
                await self._write(connection, sweep, page)
            return _sweep(row)

        return await self._database.transact(write)

    async def _write(self, connection: Connection, sweep: Sweep, page: PageResult) -> None:
        pipeline_id = sweep.order.pipeline_id
        if page.invalidated:
            began = sweep.started_at or sweep.moment
            await connection.execute(QUERIES["invalidate_results"], pipeline_id, list(page.invalidated), began)
        if page.adopted:
            await connection.execute(QUERIES["adopt"], pipeline_id, *_adopted_columns(page.adopted))
        count = CounterIncrements()
        for name in COUNTED:
            count.add(pipeline_id, name, getattr(page.counts, name))
        hints = [(pipeline_id, event) for event in page.events]
        await self._ledger.record_in(connection, [ReceivedEvents(hints)], count)

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
        counts=SweepCounts(row["pages"], *(row[name] for name in ("listed", "known", *COUNTED[1:]))),
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
            item.listed.modified, item.token, json.dumps(dict(item.published)), item.verdict,
        )
        for item in adopted
    ]  # fmt: skip
    return tuple(list(column) for column in zip(*rows, strict=True))
