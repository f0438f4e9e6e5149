"""The installation's id is made once with the ledger, and read beside a control plane."""

from __future__ import annotations

import asyncpg

from tests.postgres import database
from webhook.ledger.installation import installation_id


async def test_the_id_is_that_of_the_ledger_and_stays(postgres_dsn: str) -> None:
    async with database(postgres_dsn) as (_, dsn):
        first = await installation_id(dsn)
        assert len(first) == 8
        assert await installation_id(dsn) == first
        connection = await asyncpg.connect(dsn)
        await connection.execute("delete from installation; insert into installation default values")
        await connection.close()
        assert await installation_id(dsn) not in ("", first), "as another ledger's"


async def test_where_there_is_no_ledger_there_is_no_id(postgres_dsn: str) -> None:
    async with database(postgres_dsn) as (_, dsn):
        connection = await asyncpg.connect(dsn)
        await connection.execute("drop table installation")
        await connection.close()
        assert await installation_id(dsn) == ""
    assert await installation_id("postgresql://yurt:hunter2@127.0.0.1:1/yurt") == ""
    assert await installation_id("nonsense") == ""
