"""Records events, claims due objects and settles leases in PostgreSQL.

Each operation is one transaction over a batch, and increments the counters in that same transaction, so that counters
and rows always add up.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from webhook.events import EventKind, ObjectEvent, Quarantined
from webhook.ledger.coalescing import CounterIncrements, Hint, Hints, ObjectPlace, Verdict, fold
from webhook.ledger.database import Database
from webhook.ledger.leased_rows import leased, settled, storable
from webhook.ledger.policy import DEFAULT_POLICY, SLOWEST_BYTES_PER_SECOND, Policy
from webhook.ledger.queries import QUERIES
from webhook.ledger.track_records import TrackRecords
from webhook.ledger.transitions import Lane, LeasedRow, Lost, Outcome, Overdue, decide

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

CHANNEL = "yurt_due"
"""NOTIFY channel. The payload is the numbers of the pipelines in which objects became due, separated by commas."""

SHARDS = 16
"""Rows a counter is divided into, so that replicas that count at the same time seldom wait for one row."""

LEASES_PER_SLOT = 4
"""Live leases that a worker may have for each of its slots: an agent never asks for more."""

SECOND_OPINION_SECONDS = 900.0
"""For which an object that one worker gave up waits for another one. Then the same may have it again: there may be no
other."""

MAX_RAW_BYTES = 64 * 1024
"""Most bytes of a quarantined event's text that are kept."""


@dataclass(frozen=True, slots=True)
class ReceivedEvents:
    """Events of one request, to be recorded: those that pipelines watch, ignored ones, and unreadable ones."""

    hints: Hints = ()
    """Events that pipelines watch, one entry for each of these pipelines."""
    ignored: tuple[int, ...] = ()
    """For each ignored event the pipeline's number, or 0 where no pipeline watches the object."""
    quarantined: Sequence[Quarantined] = ()

    @property
    def weight(self) -> int:
        """Largest number of rows that recording it writes."""
        return len(self.hints) + len(self.quarantined) + 1


@dataclass(frozen=True, slots=True)
class ClaimedObject:
    """One object that was just leased, with what its worker needs to know about the last result."""

    id: int
    token: int
    pipeline_id: int
    key: str
    attempt: int
    event_etag: str | None
    newest_at: datetime | None
    done_etag: str | None
    """ETag of the last result's input. None also with ``publish_started``, so that equal content is processed again."""
    done_modified: datetime | None
    publish_started: bool
    """Whether an earlier lease began to publish and did not settle: it may have overwritten outputs of the result."""
    believed: bool
    """Whether an answer of the store to a request sent now is believed, since no region can lag behind by so much."""
    trial: bool
    """Whether it may have ended an earlier worker, so that it is to be handled alone."""
    definition: int | None = None
    """Number of the pipeline's definition, which the lease keeps."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """How one lease ends: its outcome, and the lease's identity (``worker_id`` None is the control plane)."""

    id: int
    token: int
    worker_id: int | None
    outcome: Outcome
    by: int | None = None
    """Worker from which the control plane took the lease over: the outcome counts as that worker's."""


@dataclass(frozen=True, slots=True)
class LiveLease:
    """A lease before its deadline, with the object's published outputs."""

    id: int
    token: int
    pipeline_id: int
    key: str
    published: Mapping[str, str]
    """Output name to ETag, of the last result."""
    held_seconds: float
    """Since it was handed out, by the database's clock."""
    left_seconds: float
    """Until its deadline."""
    definition: int | None = None
    """Number of the pipeline's definition when it was handed out. None: of an older Yurt."""


@dataclass(frozen=True, slots=True)
class RenewedLease:
    """A lease whose deadline was moved on."""

    superseded: bool
    """Whether a newer event came."""
    left_seconds: float
    """Until its deadline."""


class Ledger:
    """The objects and leases in PostgreSQL. Any number of replicas may use them at once.

    Every method raises LedgerUnavailable while the database does not answer.

    Args:
        database: Connections to PostgreSQL.
        policies: Limits of each pipeline, by its number.
        jitter: Gives a random number from [0, 1), for backoff.
        shard: Row of each counter that this replica increments. None: one at random.

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
        self.track_records = TrackRecords()
        """How workers' leases ended, as far as it is not written yet."""
        self.settled: Callable[[], None] = _nothing
        """Called after each commit in which objects may have been settled."""
        self._shard = random.randrange(SHARDS) if shard is None else shard  # noqa: S311 - no secret

    # ── recording ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def record(self, intakes: Sequence[ReceivedEvents]) -> Sequence[Counter[Verdict]]:
        """Record the events of several requests in one transaction. Returns the verdicts on each request's events."""
        return await self.database.transact(lambda connection: self.record_in(connection, intakes))

    async def record_in(
        self, connection: Connection, intakes: Sequence[ReceivedEvents], further: CounterIncrements | None = None
    ) -> Sequence[Counter[Verdict]]:
        """Record events in the caller's transaction, and increment the caller's ``further`` counters with its own."""
        hints = fold(intake.hints for intake in intakes)
        count = CounterIncrements()
        if further:
            # One statement for all counters of a transaction locks them in one order: two would risk a deadlock.
            count.by_pipeline.update(further.by_pipeline)
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
        results = {(row[0], row[1]): row[2] for row in written}
        if len(results) < len(hints):
            # The statement returns no row for an event that it drops. These are few: a second one finds the reason.
            results |= await _dropped(connection, [(place, hint) for place, hint in hints if place not in results])
        for place, hint in hints:
            result = results[place]
            if result == "replaced":
                # The parked change ends here: the new one takes its row.
                count.add(place[0], "superseded")
                result = "accepted"
            for request, verdict in hint.verdicts(Verdict(result)):
                answers[request][verdict] += 1
                count.add(place[0], verdict)

    async def _record_rest(
        self,
        connection: Connection,
        intakes: Sequence[ReceivedEvents],
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
        """Increment the counters, and notify the replicas of pipelines in which objects became due."""
        if count.by_pipeline:
            await connection.execute(QUERIES["count"], *self._counted(count, due))

    def _counted(self, count: CounterIncrements, due: Iterable[int]) -> tuple[object, ...]:
        return self._shard, *count.columns(), ",".join(map(str, sorted(due)))

    # ── claiming and settling ────────────────────────────────────────────────────────────────────────────────────────

    async def claim(
        self, pipeline_id: int, lane: Lane, most: int, worker_id: int | None, lease_seconds: float,
        definition: int | None = None,
    ) -> list[ClaimedObject]:  # fmt: skip
        """Claim up to ``most`` due objects of a pipeline and lane under new leases.

        A worker gets no more than `LEASES_PER_SLOT` allow. ``worker_id`` None claims for the control plane itself. The
        leases keep the number of the pipeline's ``definition``.
        """
        lag_seconds = self._policies.get(pipeline_id, DEFAULT_POLICY).replica_lag_seconds
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                QUERIES["claim"], pipeline_id, lane, most, worker_id, lease_seconds, lag_seconds,
                LEASES_PER_SLOT, SECOND_OPINION_SECONDS, definition,
            )  # fmt: skip
        return [
            ClaimedObject(
                row["id"], row["token"], pipeline_id, row["key"], row["attempts"],
                row["event_etag"], row["newest_at"], row["done_etag"], row["done_modified"], row["publish_started"],
                row["believed"], lane == "trial", definition,
            )
            for row in rows
        ]  # fmt: skip

    async def settle(self, settlements: Sequence[Settlement]) -> list[ObjectPlace | None]:
        """Settle each lease that is still live. Returns its object, by position.

        None in place of an object: that lease was lost before, and nothing was changed.
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
                # A batch may hold one lease twice, when a worker sent its settlement again: the first one counts.
                if row["id"] not in decided:
                    settlement = settlements[position]
                    held = replace(leased(row), worker_id=settlement.worker_id or settlement.by)
                    decided[row["id"]] = held, settlement.outcome
                    places[position] = (row["pipeline_id"], row["key"])
            await self._write(connection, decided.values())
            return places

        places = await self.database.transact(write)
        self.settled()
        return places

    async def reap(self, most: int = 500) -> int:
        """Take back up to ``most`` leases whose deadline has passed. Returns their number."""

        async def write(connection: Connection) -> int:
            rows = await connection.fetch(QUERIES["lock_expired"], most)
            await self._write(connection, [(leased(row), self._expired(row)) for row in rows])
            return len(rows)

        taken = await self.database.transact(write)
        if taken:
            self.settled()
        return taken

    async def take_back(self, connection: Connection, worker_id: int, *, interrupted: bool = False) -> int:
        """Take back all leases of a worker in the transaction that slays it. Returns their number.

        ``interrupted``: the control plane ends it in the midst of its work, so no object is suspected of that.
        """
        rows = await connection.fetch(QUERIES["lock_of_worker"], worker_id)
        lost = [(leased(row), Lost("no" if interrupted else row["in_handler"])) for row in rows]
        await self._write(connection, lost)
        return len(rows)

    def _expired(self, row: asyncpg.Record) -> Outcome:
        """How a lease ends whose deadline has passed."""
        policy = self._policies.get(row["pipeline_id"], DEFAULT_POLICY)
        longest_seconds = policy.longest_lease_seconds(row["event_size"] or 0)
        if row["worker_id"] is not None and (row["lasted_seconds"] or 0.0) >= longest_seconds:
            return Overdue()
        return Lost(row["in_handler"])

    async def _write(self, connection: Connection, decided: Collection[tuple[LeasedRow, Outcome]]) -> None:
        """Write the next states of rows that this transaction has locked."""
        after = [
            (row, decide(row, outcome, self._policies.get(row.pipeline_id, DEFAULT_POLICY), self._jitter))
            for row, outcome in decided
        ]
        if not after:
            return
        for (row, following), (_, outcome) in zip(after, decided, strict=True):
            self.track_records.note(row, outcome, following)
        count = CounterIncrements()
        for row, following in after:
            for name in following.counted:
                count.add(row.pipeline_id, name)
        # Delayed objects become due by the passing of time, which no transaction notices: the replicas' tick does.
        due = {
            row.pipeline_id for row, following in after if following.state == "pending" and not following.delay_seconds
        }
        rows = msgspec.json.encode([settled(row, following) for row, following in after]).decode()
        await connection.execute(QUERIES["settle"], *self._counted(count, due), rows)

    async def extend(
        self, id: int, token: int, worker_id: int | None, lease_seconds: float, limit_seconds: float
    ) -> RenewedLease | None:
        """Move a lease's deadline on, but not past ``limit_seconds`` from its beginning: more for a large object.

        None: the lease is lost, or has lasted that long.
        """
        async with self.database.connection() as connection:
            row = await connection.fetchrow(
                QUERIES["extend"], id, token, worker_id, lease_seconds, limit_seconds, float(SLOWEST_BYTES_PER_SECOND)
            )
        return None if row is None else RenewedLease(row["rerun_requested"], row["left_seconds"])

    async def lease(self, id: int, token: int, worker_id: int | None) -> LiveLease | None:
        """Return a live lease, or None where it is lost."""
        return await self._live("lease", id, token, worker_id)

    async def publishing(self, id: int, token: int, worker_id: int | None) -> LiveLease | None:
        """Note that a live lease begins to publish. None: the lease is lost.

        Should it end without a settlement, the object is processed again even if its content is that of the last
        result: some of the last result's outputs may have been overwritten.
        """
        return await self._live("publishing", id, token, worker_id)

    async def seal(self, id: int, token: int, worker_id: int, hold_seconds: float) -> LiveLease | None:
        """Transfer a worker's live lease to the control plane for at least ``hold_seconds``.

        The worker can neither renew nor settle it any more. None: the lease is lost.
        """
        return await self._live("seal", id, token, worker_id, hold_seconds)

    async def _live(self, query: str, *arguments: object) -> LiveLease | None:
        async with self.database.connection() as connection:
            row = await connection.fetchrow(QUERIES[query], *arguments)
        if row is None:
            return None
        return LiveLease(
            row["id"], row["token"], row["pipeline_id"], row["key"], json.loads(row["published"] or "{}"),
            row["held_seconds"], row["left_seconds"], row["definition"],
        )  # fmt: skip

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Return the rows of a statement of ``queries.sql``, by its name."""
        async with self.database.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(QUERIES[query], *arguments)
        return rows


async def pipeline_id(database: Database, name: str, bucket: str) -> int:
    """Return the ledger's number for a pipeline on a bucket, and assign one at first use."""
    async with database.connection() as connection:
        number: int = await connection.fetchval(QUERIES["pipeline"], name, bucket)
    return number


def _nothing() -> None:
    """Call nothing."""


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
