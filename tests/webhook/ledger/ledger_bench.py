"""A ledger on a database of its own, with a clock that stands still until it is moved."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from tests.postgres import dsn_of
from webhook.events import ContentVersion, EventKind, EventOrder, ObjectEvent, mark_of
from webhook.ledger.coalescing import Verdict
from webhook.ledger.database import Database
from webhook.ledger.ledger import ClaimedObject, Ledger, ReceivedEvents, Settlement, pipeline_id
from webhook.ledger.policy import Policy
from webhook.ledger.transitions import Failure, Lane, Outcome, Published

POLICY = Policy(attempts=3, store_attempts=6, absent_checks=2, backoff_seconds=10, backoff_limit_seconds=60)
BROKEN = Failure("unreadable", "It cannot be read.", retry=True)
HOPELESS = Failure("unreadable", "It is no photo.", retry=False)
STORE_DOWN = Failure("store", "503", retry=True)
LEASE_SECONDS = 100.0

_numbers = itertools.count(1)


def done(etag: str = "v1", modified: datetime | None = None) -> Published:
    """A result of the content with this ETag."""
    return Published(etag, modified, {"256.webp": f"out-{etag}", "result.json": f"man-{etag}"})


def event(
    key: str = "a.jpg",
    etag: str | None = "v1",
    *,
    kind: EventKind = EventKind.CREATED,
    modified: datetime | None = None,
    order: EventOrder | None = None,
    mark: str | None = None,
) -> ObjectEvent:
    """An event; another one than any before unless it is given a mark."""
    return ObjectEvent(
        source="tigris",
        bucket="photos-in",
        key=key,
        kind=kind,
        version=ContentVersion(etag, modified, order),
        size=3 * 2**30,
        mark=mark_of(mark if mark is not None else next(_numbers)),
    )


@dataclass
class LedgerBench:
    """A ledger with two pipelines, and what tests ask of it."""

    database: Database
    dsn: str
    photos: int
    videos: int
    ledger: Ledger = field(init=False)
    jitter: float = 1.0
    """Of the wait before a retry, from 0 to 1; at 1 the wait is the whole backoff."""

    def __post_init__(self) -> None:
        self.ledger = self.replica()

    def replica(self, database: Database | None = None) -> Ledger:
        """Another ledger object, as another process has it."""
        policies = {self.photos: POLICY, self.videos: POLICY}
        return Ledger(database or self.database, policies, jitter=lambda: self.jitter)

    # what comes in

    async def record(self, *events: ObjectEvent, pipelines: Sequence[int] = ()) -> Counter[Verdict]:
        """Record the events of one request; the verdicts that are not 0."""
        hints = [(number, item) for item in events for number in pipelines or [self.photos]]
        [verdicts] = await self.ledger.record([ReceivedEvents(hints)])
        return +verdicts

    # who works

    async def claim(
        self, most: int = 16, lane: Lane = "work", *, worker: int | None = None, pipeline: int | None = None
    ) -> list[ClaimedObject]:
        """Lease what is due."""
        return await self.ledger.claim(pipeline or self.photos, lane, most, worker, LEASE_SECONDS)

    async def take(self, lane: Lane = "work", *, worker: int | None = None) -> ClaimedObject:
        """Lease the one object that is due."""
        [lease] = await self.claim(lane=lane, worker=worker)
        return lease

    async def settle(self, lease: ClaimedObject, outcome: Outcome, *, worker: int | None = None) -> bool:
        """Settle one lease."""
        [place] = await self.ledger.settle([Settlement(lease.id, lease.token, worker, outcome)])
        return place is not None

    async def worker(self, state: str = "ready", pool: str = "local") -> int:
        """A machine in a state."""
        number = next(_numbers)
        id: int = await self.sql(
            "insert into workers (pool, provider, label, state, slots, once_hash) "
            "values ($1, 'test', $2, $3, 1, $4) returning id",
            pool,
            f"yurt-test-{number}",
            state,
            str(number).encode(),
        )
        return id

    # time

    async def advance(self, seconds: float) -> None:
        """Move the stopped clock on."""
        await self.sql("update clock set stopped_at = stopped_at + make_interval(secs => $1)", float(seconds))

    async def waits(self, key: str = "a.jpg") -> float:
        """Seconds until the object is due."""
        seconds: float = await self.sql(
            "select extract(epoch from due_at - yurt_now())::float8 from objects where key = $1", key
        )
        return seconds

    # what stands in it

    async def sql(self, statement: str, *arguments: object) -> Any:
        """The first value that a statement gives."""
        async with self.database.connection() as connection:
            return await connection.fetchval(statement, *arguments)

    async def row(self, key: str = "a.jpg", pipeline: int | None = None) -> asyncpg.Record:
        """One object."""
        async with self.database.connection() as connection:
            row = await connection.fetchrow(
                "select * from objects where key = $1 and pipeline_id = $2", key, pipeline or self.photos
            )
        assert row is not None
        return row

    async def rows(self) -> list[asyncpg.Record]:
        """All objects."""
        async with self.database.connection() as connection:
            return list(await connection.fetch("select * from objects order by pipeline_id, key"))

    async def state(self, key: str = "a.jpg") -> tuple[str, str]:
        """State and lane of one object."""
        row = await self.row(key)
        return row["state"], row["lane"]

    async def counted(self, *names: str) -> dict[str, int]:
        """Counters over all pipelines: those named, or all that are not 0."""
        async with self.database.connection() as connection:
            rows = await connection.fetch("select name, sum(value)::bigint from tally group by 1")
        found = {row[0]: row[1] for row in rows if row[1]}
        return {name: found.get(name, 0) for name in names} if names else found

    async def balance(self) -> tuple[int, int]:
        """Events and changes that are nowhere."""
        [row] = await self.ledger.fetch("balance")
        return row["events"], row["changes"]


@contextlib.asynccontextmanager
async def bench(dsn: str) -> AsyncIterator[LedgerBench]:
    """An empty bench whose clock stands still. Its counters must add up at the end of each test."""
    own = await _emptied(dsn)
    connected = await Database.connect(own, connections=6)
    try:
        numbers = [await pipeline_id(connected, name, "photos-in") for name in ("photos", "videos")]
        made = LedgerBench(connected, own, *numbers)
        await made.sql("insert into clock values ('2026-05-15 10:30Z')")
        yield made
        assert await made.balance() == (0, 0)
    finally:
        await connected.aclose()


async def _emptied(dsn: str) -> str:
    """The DSN of a database that these tests share on one server: making one a test takes longer than the tests do."""
    name = "yurt_bench"
    admin = await asyncpg.connect(dsn)
    try:
        if not await admin.fetchval("select 1 from pg_database where datname = $1", name):
            await admin.execute(f"create database {name} template yurt_template strategy file_copy")
        await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
    finally:
        await admin.close()
    own = dsn_of(dsn, name)
    connection = await asyncpg.connect(own)
    try:
        for table in (
            "arrivals",
            "avoided_machines",
            "counted_arrivals",
            "service_arrivals",
            "counted_services",
            "spending",
            "pool_reports",
            "provider_reports",
            "objects",
            "settles",
            "callbacks",
            "callback_feeds",
            "sweeps",
            "pruned_ahead",
            "pruned_workers",
            "replicas",
            "service_machines",
            "wishes",
            "workers",
            "track_records",
            "invitations",
            "certificates",
            "senders",
            "quarantine",
            "tally",
            "clock",
            "pipelines",
        ):
            await connection.execute(f"delete from {table}")
        await connection.execute("update settle_numbering set last = 0, pruned = 0")
    finally:
        await connection.close()
    return own
