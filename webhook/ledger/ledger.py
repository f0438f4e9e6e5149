"""The ledger's doors: ``record`` for everything that tells of a change, ``claim`` and ``settle`` for all work.

Each door is one transaction over whole batches, and counts what it did in that same transaction, so that the counters
and the rows always add up.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from webhook.events import EventKind, ObjectEvent, Quarantined, utc
from webhook.ledger.coalescing import CounterIncrements, Hint, Hints, ObjectPlace, Verdict, fold
from webhook.ledger.database import Database
from webhook.ledger.queries import QUERIES
from webhook.ledger.transitions import (
    DEFAULT_POLICY,
    LOST,
    Lane,
    LeasedRow,
    NextState,
    Outcome,
    Policy,
    Published,
    decide,
)

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

CHANNEL = "yurt_due"
"""NOTIFY channel: pipelines in which something became due, as numbers with commas between."""

SHARDS = 16
"""Writers of counters that never wait for each other."""

MAX_RAW_BYTES = 64 * 1024
"""Of one quarantined event that are kept."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What one request brings."""

    hints: Hints = ()
    """Events that pipelines watch, once a pipeline."""
    ignored: tuple[int, ...] = ()
    """Of events that concern nobody: the pipeline's number, or 0 where none watches the object."""
    quarantined: Sequence[Quarantined] = ()

    @property
    def weight(self) -> int:
        """Rows that it writes at most."""
        return len(self.hints) + len(self.quarantined) + 1


@dataclass(frozen=True, slots=True)
class ClaimedObject:
    """One leased object."""

    id: int
    token: int
    pipeline_id: int
    key: str
    attempt: int
    event_etag: str | None
    newest_at: datetime | None
    done_etag: str | None
    """None also where the last result's outputs may have been written over since."""
    done_modified: datetime | None
    publish_started: bool
    """Whether that is so."""
    believed: bool
    """Whether what is read now cannot be older than the last event and the last result: it is believed in any case."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a lease came to."""

    id: int
    token: int
    worker_id: int | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class LiveLease:
    """What is known of a leased object's outputs."""

    id: int
    token: int
    pipeline_id: int
    key: str
    published: Mapping[str, str]
    leased_at: datetime
    left_seconds: float
    """Until its deadline."""


class Ledger:
    """One ledger in PostgreSQL. Any number of replicas may use it at once.

    Every method raises LedgerUnavailable while the database does not answer.
    """

    def __init__(
        self,
        database: Database,
        policies: Mapping[int, Policy],
        *,
        jitter: Callable[[], float] = random.random,
        shard: int | None = None,
    ) -> None:
        self.database = database
        self._policies = policies
        self._jitter = jitter
        self._shard = random.randrange(SHARDS) if shard is None else shard  # noqa: S311 - no secret

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def record(self, intakes: Sequence[Intake]) -> Sequence[Counter[Verdict]]:
        """Take in what the requests bring, in one transaction. Returns the verdicts on each request's events."""
        return await self.database.transact(lambda connection: self.record_in(connection, intakes))

    async def record_in(
        self, connection: Connection, intakes: Sequence[Intake], beside: CounterIncrements | None = None
    ) -> Sequence[Counter[Verdict]]:
        """As ``record``, in a transaction that does more. ``beside``: what that counts."""
        hints = fold(intake.hints for intake in intakes)
        count = CounterIncrements()
        if beside:
            count.by_pipeline.update(beside.by_pipeline)
        answers: list[Counter[Verdict]] = [Counter() for _ in intakes]
        await self._record_hints(connection, hints, count, answers)
        await self._record_rest(connection, intakes, count, answers)
        due = {pipeline for pipeline, name in count.by_pipeline if name == Verdict.ACCEPTED}
        await self._count(connection, count, due)
        return answers

    async def _record_hints(
        self,
        connection: Connection,
        hints: Sequence[tuple[ObjectPlace, Hint]],
        count: CounterIncrements,
        answers: Sequence[Counter[Verdict]],
    ) -> None:
        if not hints:
            return
        written = await connection.fetch(QUERIES["record"], *_columns(hints))
        said = {(row[0], row[1]): row[2] for row in written}
        if len(said) < len(hints):
            said |= await _dropped(connection, [(place, hint) for place, hint in hints if place not in said])
        for place, hint in hints:
            word = said[place]
            if word == "replaced":
                # A parked change gives way to the new one.
                count.add(place[0], "superseded")
                word = "accepted"
            for request, verdict in hint.verdicts(Verdict(word)):
                answers[request][verdict] += 1
                count.add(place[0], verdict)

    async def _record_rest(
        self,
        connection: Connection,
        intakes: Sequence[Intake],
        count: CounterIncrements,
        answers: Sequence[Counter[Verdict]],
    ) -> None:
        refused: dict[tuple[str, bytes], tuple[Quarantined, int]] = {}
        for intake, answer in zip(intakes, answers, strict=True):
            for pipeline_id, events in Counter(pipeline_id for pipeline_id, _ in intake.hints).items():
                count.add(pipeline_id, "received", events)
            for pipeline_id in intake.ignored:
                count.add(pipeline_id, "received")
                count.add(pipeline_id, Verdict.IGNORED)
            answer[Verdict.IGNORED] += len(intake.ignored)
            for item in intake.quarantined:
                place = item.source, hashlib.sha256(item.raw).digest()
                refused[place] = item, refused.get(place, (item, 0))[1] + 1
            count.add(0, "received", len(intake.quarantined))
            count.add(0, Verdict.QUARANTINED, len(intake.quarantined))
            answer[Verdict.QUARANTINED] += len(intake.quarantined)
        if refused:
            await connection.execute(QUERIES["quarantine"], *_quarantine_columns(refused))

    async def _count(self, connection: Connection, count: CounterIncrements, due: Iterable[int]) -> None:
        """Add to the counters, and wake whoever waits for what became due in these pipelines."""
        if count.by_pipeline:
            await connection.execute(QUERIES["count"], *self._counted(count, due))

    def _counted(self, count: CounterIncrements, due: Iterable[int]) -> tuple[object, ...]:
        return self._shard, *count.columns(), ",".join(map(str, sorted(due)))

    # ── working ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def claim(
        self, pipeline_id: int, lane: Lane, most: int, worker_id: int | None, lease_seconds: float
    ) -> list[ClaimedObject]:
        """Lease up to ``most`` objects that are due. ``worker_id`` None is the control plane itself."""
        lag_seconds = self._policies.get(pipeline_id, DEFAULT_POLICY).replica_lag_seconds
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                QUERIES["claim"], pipeline_id, lane, most, worker_id, lease_seconds, lag_seconds
            )
        return [
            ClaimedObject(
                row["id"], row["token"], pipeline_id, row["key"], row["attempts"],
                row["event_etag"], row["newest_at"], row["done_etag"], row["done_modified"], row["publish_started"],
                row["believed"],
            )
            for row in rows
        ]  # fmt: skip

    async def settle(self, settlements: Sequence[Settlement]) -> list[ObjectPlace | None]:
        """Settle each lease that is still the one named, and tell which object that was.

        None: the lease was lost before, and nothing was changed.
        """

        async def write(connection: Connection) -> list[ObjectPlace | None]:
            rows = await connection.fetch(
                QUERIES["lock_leased"],
                [s.id for s in settlements],
                [s.token for s in settlements],
                [s.worker_id for s in settlements],
            )
            places: list[ObjectPlace | None] = [None] * len(settlements)
            decided: dict[int, tuple[LeasedRow, Outcome]] = {}
            for row in rows:
                position = row["position"] - 1
                # The same lease named twice in one batch: the first settles it.
                if row["id"] not in decided:
                    decided[row["id"]] = _leased(row), settlements[position].outcome
                    places[position] = (row["pipeline_id"], row["key"])
            await self._write(connection, decided.values())
            return places

        return await self.database.transact(write)

    async def reap(self, most: int = 500) -> int:
        """Take back up to ``most`` leases whose deadline passed. Returns how many."""
        return await self.database.transact(lambda connection: self._take_back(connection, "lock_expired", most))

    async def take_back(self, connection: Connection, worker_id: int) -> int:
        """Take back all leases of a worker, in the transaction that slays it. Returns how many."""
        return await self._take_back(connection, "lock_of_worker", worker_id)

    async def _take_back(self, connection: Connection, query: str, argument: int) -> int:
        rows = await connection.fetch(QUERIES[query], argument)
        await self._write(connection, [(_leased(row), LOST) for row in rows])
        return len(rows)

    async def _write(self, connection: Connection, decided: Iterable[tuple[LeasedRow, Outcome]]) -> None:
        """Write the next states of rows that this transaction has locked."""
        after = [
            (row, decide(row, outcome, self._policies.get(row.pipeline_id, DEFAULT_POLICY), self._jitter))
            for row, outcome in decided
        ]
        if not after:
            return
        count = CounterIncrements()
        for row, then in after:
            for name in then.counted:
                count.add(row.pipeline_id, name)
        due = {row.pipeline_id for row, then in after if then.state == "pending" and not then.delay_seconds}
        rows = msgspec.json.encode([_settled(row, then) for row, then in after]).decode()
        await connection.execute(QUERIES["settle"], *self._counted(count, due), rows)

    async def extend(self, id: int, token: int, worker_id: int | None, lease_seconds: float) -> bool | None:
        """Grant a lease more time. Returns whether a newer event came, or None where the lease is lost."""
        async with self.database.connection() as connection:
            superseded: bool | None = await connection.fetchval(QUERIES["extend"], id, token, worker_id, lease_seconds)
        return superseded

    async def lease(self, id: int, token: int, worker_id: int | None) -> LiveLease | None:
        """A lease that is still live, or None."""
        return await self._live("lease", id, token, worker_id)

    async def publishing(self, id: int, token: int, worker_id: int | None) -> LiveLease | None:
        """A live lease that is about to publish, or None.

        Should it end without settling, the object is worked anew whatever its content: half of the outputs may be
        there.
        """
        return await self._live("publishing", id, token, worker_id)

    async def seal(self, id: int, token: int, worker_id: int, hold_seconds: float) -> LiveLease | None:
        """Take a worker's live lease over, for at least so long: nobody but the control plane holds it from now on.

        None where it is lost.
        """
        return await self._live("seal", id, token, worker_id, hold_seconds)

    async def _live(self, query: str, *arguments: object) -> LiveLease | None:
        async with self.database.connection() as connection:
            row = await connection.fetchrow(QUERIES[query], *arguments)
        if row is None:
            return None
        return LiveLease(
            row["id"], row["token"], row["pipeline_id"], row["key"], json.loads(row["published"] or "{}"),
            row["leased_at"], row["left_seconds"],
        )  # fmt: skip

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of a reading statement of ``queries.sql``."""
        async with self.database.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(QUERIES[query], *arguments)
        return rows


async def pipeline_id(database: Database, name: str, bucket: str) -> int:
    """The ledger's number for a pipeline on a bucket."""
    async with database.connection() as connection:
        number: int = await connection.fetchval(QUERIES["pipeline"], name, bucket)
    return number


def _lane(event: ObjectEvent) -> Lane:
    return "work" if event.kind is EventKind.CREATED else "check"


def _columns(hints: Sequence[tuple[ObjectPlace, Hint]]) -> tuple[list[object], ...]:
    rows = [
        (
            pipeline, key, _lane(event := hint.event), event.mark,
            event.version.etag if event.kind is EventKind.CREATED else None,
            event.kind is not EventKind.REMOVED, event.size,
            order.scheme if (order := event.version.order) else None, order.key if order else None,
            order.latest or order.key if order else None, event.version.modified,
        )
        for (pipeline, key), hint in hints
    ]  # fmt: skip
    return tuple(list(column) for column in zip(*rows, strict=True))


async def _dropped(connection: Connection, hints: Sequence[tuple[ObjectPlace, Hint]]) -> dict[ObjectPlace, str]:
    rows = await connection.fetch(
        QUERIES["dropped"],
        [place[0] for place, _ in hints],
        [place[1] for place, _ in hints],
        [hint.event.mark for _, hint in hints],
    )
    return {(row[0], row[1]): "duplicate" if row[2] else "stale" for row in rows}


def _quarantine_columns(refused: Mapping[tuple[str, bytes], tuple[Quarantined, int]]) -> tuple[list[object], ...]:
    rows = [
        (source, storable(item.reason[:1000]), item.raw[:MAX_RAW_BYTES], digest, times)
        for (source, digest), (item, times) in sorted(refused.items(), key=lambda entry: entry[0])
    ]
    return tuple(list(column) for column in zip(*rows, strict=True))


def _leased(row: asyncpg.Record) -> LeasedRow:
    return LeasedRow(
        row["id"], row["pipeline_id"], row["lane"], row["attempts"], row["faults"],
        row["rerun_requested"], row["rerun_lane"], row["event_etag"], row["done_etag"],
        _or(row["asked_after_seconds"], 0.0), _or(row["unseen_seconds"], math.inf), row["event_age_seconds"],
    )  # fmt: skip


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _settled(row: LeasedRow, then: NextState) -> dict[str, object]:
    """What the statement "settle" is told of one row."""
    said: dict[str, object] = {
        "id": row.id,
        "state": then.state,
        "lane": then.lane,
        "delay_seconds": then.delay_seconds,
        "restart": then.restart,
        "attempts": then.attempts,
        "faults": then.faults,
        "finished": then.finished,
        "forget": then.forget,
        "seen": then.seen,
    }
    if then.error is not None:
        error = {"reason": then.error.reason, "message": then.error.message, "log": then.error.log}
        said["error"] = {name: storable(text) for name, text in error.items()}
    if then.result is not None:
        said["done_etag"] = storable(then.result.etag)
        said["done_modified"] = _moment(then.result.modified)
        said["published"] = {storable(name): storable(etag) for name, etag in then.result.published.items()}
    return said


def _moment(moment: datetime | None) -> datetime | None:
    """In UTC; None where it cannot be. A worker's word must not spoil the batch it comes in."""
    try:
        return None if moment is None else utc(moment)
    except OverflowError:
        return None


def storable(text: str) -> str:
    """PostgreSQL's text and jsonb hold neither NUL nor half of a surrogate pair."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


__all__ = ["CHANNEL", "ClaimedObject", "Intake", "Ledger", "LiveLease", "Published", "Settlement", "pipeline_id"]
