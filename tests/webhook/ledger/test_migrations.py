from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.postgres import dsn_of
from webhook.ledger import migrations
from webhook.ledger.migrations import LedgerTooNew, migrate, steps


@contextlib.asynccontextmanager
async def empty(dsn: str) -> AsyncIterator[list[asyncpg.Connection]]:
    """Two connections to a database in which nothing is."""
    admin = await asyncpg.connect(dsn)
    await admin.execute("create database yurt_empty template template0 strategy file_copy")
    connections = [await asyncpg.connect(dsn_of(dsn, "yurt_empty")) for _ in range(2)]
    try:
        yield connections
    finally:
        for connection in connections:
            await connection.close()
        await admin.execute("drop database yurt_empty with (force)")
        await admin.close()


async def applied(connection: asyncpg.Connection) -> list[int]:
    return [row[0] for row in await connection.fetch("select version from schema_version order by 1")]


async def test_each_step_is_applied_once_by_whichever_replica_comes_first(postgres_dsn: str) -> None:
    async with empty(postgres_dsn) as (one, other):
        assert list(await asyncio.gather(migrate(one), migrate(other))) == [len(steps())] * 2
        assert await applied(one) == [number for number, _ in steps()]
        assert await migrate(one) == len(steps())
        assert await applied(one) == [number for number, _ in steps()]


async def test_a_ledger_of_a_newer_yurt_is_refused_and_left_alone(postgres_dsn: str) -> None:
    async with empty(postgres_dsn) as (connection, _):
        await migrate(connection)
        await connection.execute("insert into schema_version (version) values ($1)", len(steps()) + 1)
        with pytest.raises(LedgerTooNew, match=f"schema {len(steps()) + 1}, this Yurt knows {len(steps())}"):
            await migrate(connection)
        assert await applied(connection) == list(range(1, len(steps()) + 2))


async def test_a_step_that_fails_leaves_nothing_behind(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [*steps(), (len(steps()) + 1, "create table half (id integer); select 1 / 0")]
    async with empty(postgres_dsn) as (connection, _):
        with monkeypatch.context() as patched:
            patched.setattr(migrations, "steps", lambda: broken)
            with pytest.raises(asyncpg.DivisionByZeroError):
                await migrate(connection)
        assert await connection.fetchval("select to_regclass('half')") is None
        assert await migrate(connection) == len(steps())


def test_steps_are_numbered_without_a_gap() -> None:
    assert [number for number, _ in steps()] == list(range(1, len(steps()) + 1))
