"""A ledger that an older Yurt has filled is brought up to date, and goes on where it was."""

from __future__ import annotations

import asyncpg
import pytest

from tests.postgres import dsn_of
from webhook.ledger import migrations
from webhook.ledger.database import Database
from webhook.ledger.ledger import Ledger, Settlement
from webhook.ledger.transitions import ELSEWHERE, Published

_FILL = """
insert into pipelines (name, bucket) values ('photos', 'photos-in');
insert into objects (pipeline_id, key, state, lane, due_at, event_at, verdict, mark)
select 1, state || '.jpg', state::object_state, 'work', now(), now(), 'accepted', 'x'
from unnest('{pending, done, gone, parked}'::text[]) as s (state);
insert into objects (pipeline_id, key, state, lane, due_at, event_at, verdict, mark, token, deadline)
values (1, 'leased.jpg', 'leased', 'work', now(), now(), 'accepted', 'x', 7, now() + interval '1 hour');
insert into tally values (0, 1, 'received', 5), (0, 1, 'accepted', 5), (0, 1, 'done', 1), (0, 1, 'gone', 1);
"""


async def test_rows_of_the_first_schema_go_on(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = migrations.steps()
    admin = await asyncpg.connect(postgres_dsn)
    await admin.execute("create database yurt_upgrade template template0")
    own = dsn_of(postgres_dsn, "yurt_upgrade")
    try:
        connection = await asyncpg.connect(own)
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "steps", lambda: steps[:1])
            assert await migrations.migrate(connection) == 1
        await connection.execute(_FILL)
        assert await migrations.migrate(connection) == len(steps)
        leased = await connection.fetchval("select id from objects where key = 'leased.jpg'")
        await connection.close()
        database = await Database.connect(own)
        ledger = Ledger(database, {1: ELSEWHERE})
        # When it was leased is not known, so what was read then is looked at once more.
        assert await ledger.settle([Settlement(leased, 7, None, Published("v1", None, {}))]) == [(1, "leased.jpg")]
        assert [lease.key for lease in await ledger.claim(1, "work", 5, None, 60)] == ["pending.jpg"]
        [balance] = await ledger.fetch("balance")
        assert tuple(balance) == (0, 0)
        await database.aclose()
    finally:
        await admin.execute("drop database yurt_upgrade with (force)")
        await admin.close()
