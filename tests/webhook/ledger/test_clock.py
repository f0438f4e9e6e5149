"""A database's clock that is set back by an hour: nothing waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.webhook.ledger.ledger_bench import LEASE_SECONDS, LedgerBench, bench, done, event
from webhook.ledger.clock import NOTICED_SECONDS, follow_clock
from webhook.ledger.transitions import Failure, Lost

HOUR = 3600.0
BROKEN = Failure("broken", "It did not work.", retry=True)


@contextlib.asynccontextmanager
async def observed(dsn: str) -> AsyncIterator[LedgerBench]:
    """A bench whose clock has just been read."""
    async with bench(dsn) as b:
        await b.sql("update clock_reading set latest = yurt_now()")
        yield b


async def set_back(b: LedgerBench, seconds: float = HOUR) -> None:
    assert await follow_clock(b.database) == 0
    await b.advance(-seconds)
    assert await follow_clock(b.database) == pytest.approx(seconds)
    assert await follow_clock(b.database) == 0


async def test_what_is_due_stays_due_and_a_backoff_as_long_as_it_was(postgres_dsn: str) -> None:
    async with observed(postgres_dsn) as b:
        await b.record(event("failed.jpg"))
        await b.settle(await b.take(), BROKEN)
        before = await b.waits("failed.jpg")
        await b.record(event("a.jpg"))
        await set_back(b)
        assert before > 0
        assert await b.waits("failed.jpg") == pytest.approx(before)
        assert [lease.key for lease in await b.claim()] == ["a.jpg"]


async def test_a_lease_ends_when_it_would_have(postgres_dsn: str) -> None:
    async with observed(postgres_dsn) as b:
        await b.record(event("a.jpg"))
        lease = await b.take()
        await b.advance(20)
        await set_back(b)
        live = await b.ledger.lease(lease.id, lease.token, None)
        assert live is not None
        assert live.left_seconds == pytest.approx(LEASE_SECONDS - 20)
        assert await b.ledger.reap() == 0
        await b.advance(LEASE_SECONDS - 19)
        assert await b.ledger.reap() == 1


@pytest.mark.parametrize("late_seconds", [1.0, 300.0])
async def test_a_lease_that_had_expired_is_taken_back(postgres_dsn: str, late_seconds: float) -> None:
    async with observed(postgres_dsn) as b:
        await b.record(event("a.jpg"))
        await b.take()
        await b.advance(LEASE_SECONDS + late_seconds)
        await set_back(b)
        assert await b.ledger.reap() == 1


async def test_a_lease_that_was_given_or_renewed_since_is_left_alone(postgres_dsn: str) -> None:
    async with observed(postgres_dsn) as b:
        await b.record(event("a.jpg"), event("b.jpg"))
        renewed, _ = await b.claim(1), await follow_clock(b.database)
        await b.advance(-HOUR)
        assert await b.ledger.extend(renewed[0].id, renewed[0].token, None, LEASE_SECONDS, 900.0)
        await b.sql("update objects set due_at = yurt_now() where state = 'pending'")
        await b.take()
        assert await follow_clock(b.database) == pytest.approx(HOUR)
        assert await b.ledger.reap() == 0
        await b.advance(LEASE_SECONDS + 1)
        assert await b.ledger.reap() == 2


async def test_a_read_is_believed_as_before(postgres_dsn: str) -> None:
    async with observed(postgres_dsn) as b:
        await b.record(event("a.jpg"))
        await b.advance(100)
        lease = await b.take()
        await set_back(b)
        await b.settle(lease, done("v1"))
        assert (await b.row())["state"] == "done"
        await set_back(b)
        await b.record(event("a.jpg"))
        await b.advance(100)
        assert (await b.take()).believed


async def test_machines_sweeps_and_pauses_are_moved(postgres_dsn: str) -> None:
    async with observed(postgres_dsn) as b:
        worker = await b.worker()
        await b.sql(
            "update workers set seen_at = yurt_now(), active_at = yurt_now() - interval '2 hours',"
            """ unavailable = '{"1": {"message": "none", "failures": 1, "retry_at": 1e12}}' where id = $1""",
            worker,
        )
        sweep = await b.sql(
            "insert into sweeps (pipeline_id, kind, scheduled, prefix, dry_run, pages_per_second, state, due_at)"
            " values ($1, 'full', true, '', false, 1, 'wanted', yurt_now()) returning id",
            b.photos,
        )
        await set_back(b)
        ages = "extract(epoch from yurt_now() - {})::float8"
        assert await b.sql(f"select {ages.format('seen_at')} from workers where id = $1", worker) == 0
        assert await b.sql(f"select {ages.format('active_at')} from workers where id = $1", worker) == HOUR
        assert await b.sql("select unavailable::text from workers where id = $1", worker) == "{}"
        assert await b.sql(f"select {ages.format('due_at')} from sweeps where id = $1", sweep) == 0


async def test_moments_from_elsewhere_are_left_alone(postgres_dsn: str) -> None:
    modified = datetime(2026, 5, 15, 10, 29, tzinfo=UTC)
    async with observed(postgres_dsn) as b:
        await b.record(event("a.jpg"))
        await b.settle(await b.take(), done("v1", modified))
        expires = await b.sql(
            "insert into invitations (pool, provider, once_hash, expires_at)"
            " values ('local', 'test', 'x', yurt_now() + interval '1 day') returning expires_at"
        )
        await set_back(b)
        row = await b.row()
        assert (row["done_modified"], row["newest_at"]) == (modified, modified)
        assert await b.sql("select expires_at from invitations") == expires


async def test_the_steps_of_a_kept_clock_move_nothing(postgres_dsn: str) -> None:
    async with observed(postgres_dsn) as b:
        await b.record(event("a.jpg"))
        due = (await b.row())["due_at"]
        await b.advance(-NOTICED_SECONDS)
        assert await follow_clock(b.database) == 0
        assert (await b.row())["due_at"] == due
        await b.advance(NOTICED_SECONDS + HOUR)
        assert await follow_clock(b.database) == 0
        assert await b.sql("select latest - $1 from clock_reading", due) == timedelta(hours=1)


async def test_of_two_replicas_one_moves(postgres_dsn: str) -> None:
    async with observed(postgres_dsn) as b:
        await b.record(event("a.jpg"))
        await b.advance(-HOUR)
        moved = await asyncio.gather(*(follow_clock(b.database) for _ in range(4)))
        assert sorted(moved) == [0, 0, 0, pytest.approx(HOUR)]
        assert await b.waits() == 0


async def test_a_lost_worker_is_noticed_after_the_clock_was_set_back(postgres_dsn: str) -> None:
    async with observed(postgres_dsn) as b:
        worker = await b.worker()
        await b.record(event("a.jpg"))
        lease = await b.take(worker=worker)
        await set_back(b, 2 * HOUR)
        assert await b.settle(lease, Lost("possible"), worker=worker)
        await b.advance(30)
        assert [again.key for again in await b.claim()] == ["a.jpg"]


async def test_wishes_for_machines_end_when_they_would_have(postgres_dsn: str) -> None:
    async with observed(postgres_dsn) as b:
        await b.ledger.fetch("wake", "a", 1, 600.0)
        await b.ledger.fetch("wake", "a", 2, 60.0)
        await b.advance(120)
        await set_back(b)
        [woken] = await b.ledger.fetch("woken", "a")
        assert (woken["machines"], woken["seconds"]) == (1, 480.0)
