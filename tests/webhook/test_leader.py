"""One replica leads; when it is cut off, another does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncpg
import pytest

from tests.polling import until
from tests.postgres import database
from tests.webhook.plane import RunningPlane, configured, control_plane, serving
from webhook import leader
from webhook.leader import lead


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "TRY_SECONDS", 0.05)
    monkeypatch.setattr(leader, "PING_SECONDS", 0.05)


async def leading(plane: RunningPlane) -> bool:
    return "yurt_leader 1.0" in (await plane.http.get("/metrics")).text


async def holders(plane: RunningPlane) -> set[int]:
    """The server's processes that hold the lock."""
    rows = await plane.sql("select pid from pg_locks where locktype = 'advisory' and objid = $1::int::oid", leader.LOCK)
    return {row["pid"] for row in rows}


async def kill_the_leader(dsn: str) -> None:
    """End the connection that holds the lock."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid = $1::int::oid",
            leader.LOCK,
        )
    finally:
        await connection.close()


async def test_of_two_planes_one_leads_and_the_other_takes_over(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as one:
        await until(lambda: leading(one))
        async with serving(one.dsn, configured()) as two:
            await asyncio.sleep(0.2)  # it tries, in vain
            assert await leading(one)
            assert not await leading(two)
            await kill_the_leader(one.dsn)

            async def one_of_them() -> bool:
                return len(await holders(one)) == 1 and await leading(one) != await leading(two)

            await until(one_of_them)
        await until(lambda: leading(one))


@dataclass
class Candidate:
    """A replica that leads or waits to lead, and the work that it does as the leader."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    terms: int = 0
    leading_now: bool = False

    async def work(self, over: asyncio.Event) -> None:
        self.terms += 1
        self.leading_now = True
        await over.wait()
        self.leading_now = False
        await self.may_end.wait()


@contextlib.asynccontextmanager
async def running(dsn: str, candidate: Candidate) -> AsyncIterator[None]:
    task = asyncio.create_task(lead(dsn, candidate.work, candidate.stop))
    try:
        yield
    finally:
        candidate.stop.set()
        candidate.may_end.set()
        await asyncio.wait_for(task, 10)


async def is_leading(candidate: Candidate) -> bool:
    return candidate.leading_now


async def test_leadership_that_was_lost_ends_the_work_and_is_taken_up_again(postgres_dsn: str) -> None:
    async with database(postgres_dsn) as (_, dsn):
        candidate = Candidate()
        candidate.may_end.set()
        async with running(dsn, candidate):
            await until(lambda: is_leading(candidate))
            await kill_the_leader(dsn)

            async def again() -> bool:
                return candidate.terms == 2 and candidate.leading_now

            await until(again)
        assert not candidate.leading_now


async def test_another_takes_over_from_one_that_was_cut_off(postgres_dsn: str) -> None:
    async with database(postgres_dsn) as (_, dsn):
        one, two = Candidate(), Candidate()
        async with running(dsn, one):
            await until(lambda: is_leading(one))
            async with running(dsn, two):
                await asyncio.sleep(0.2)
                assert two.terms == 0
                await kill_the_leader(dsn)
                await until(lambda: is_leading(two))

                async def one_knows() -> bool:
                    return not one.leading_now

                await until(one_knows)


async def test_work_that_fails_is_not_hidden(postgres_dsn: str) -> None:
    async def fails(_: asyncio.Event) -> None:
        raise ValueError("a bug")

    async with database(postgres_dsn) as (_, dsn):
        with pytest.raises(ValueError, match="a bug"):
            await asyncio.wait_for(lead(dsn, fails, asyncio.Event()), 10)


async def test_a_database_that_is_not_there_is_waited_for() -> None:
    candidate = Candidate()
    async with running("postgresql://unknown@127.0.0.1:9/nothing", candidate):
        await asyncio.sleep(0.2)
    assert candidate.terms == 0
