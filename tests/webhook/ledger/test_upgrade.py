"""A ledger that an older Yurt has filled is brought up to date, keeps every row, and goes on where it was."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from tests.postgres import dsn_of
from webhook.ledger import migrations
from webhook.ledger.database import Database
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import Ledger, Settlement
from webhook.ledger.machines import Intent, installation_of
from webhook.ledger.policy import DEFAULT_POLICY
from webhook.ledger.transitions import Published

DUMP = Path(__file__).with_name("schema_4.sql")
"""What the version before this schema's first change wrote, with rows in every table and state."""
RENAMED = {
    "heard_at": "event_at",
    "heard_etag": "event_etag",
    "heard_size": "event_size",
    "again": "rerun_requested",
    "again_lane": "rerun_lane",
    "touched": "publish_started",
}
"""Columns of objects since migration 0005."""
ADDED = {"losses": 0, "returns": 0, "given_up_by": None, "done_by": None, "definition": None, "done_verdict": None}
"""Columns of objects since migration 0008, with the value of rows that were there."""
ADDED_ELSEWHERE = ["return_hash", "unavailable", "used_at", "suspicion", "unjailed", "cause", "usd_before_lease"]
"""Columns of other tables since migration 0009."""

Rows = dict[str, list[dict[str, object]]]


@contextlib.asynccontextmanager
async def restored(postgres_dsn: str) -> AsyncIterator[str]:
    """A database with the dump's ledger."""
    admin = await asyncpg.connect(postgres_dsn)
    await admin.execute("create database yurt_upgrade template template0")
    own = dsn_of(postgres_dsn, "yurt_upgrade")
    try:
        connection = await asyncpg.connect(own)
        await connection.execute(DUMP.read_text())
        await connection.close()
        yield own
    finally:
        await admin.execute("drop database yurt_upgrade with (force)")
        await admin.close()


async def rows_of(connection: asyncpg.Connection) -> Rows:
    """Every row of every table but the schema's version, without columns that were added."""
    tables = await connection.fetch(
        "select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'"
    )
    rows: Rows = {}
    for name in sorted(table["table_name"] for table in tables):
        if name != "schema_version":
            statement = f"select to_jsonb(t) - $1::text[] as row from {name} as t order by 1"
            fetched = await connection.fetch(statement, ADDED_ELSEWHERE)
            rows[name] = [json.loads(row["row"]) for row in fetched]
    return rows


async def columns_of(connection: asyncpg.Connection, rename: dict[str, str]) -> list[dict[str, object]]:
    """Rows of objects as dictionaries, with these columns renamed."""
    fetched = await connection.fetch("select * from objects order by id")
    return [{rename.get(name, name): value for name, value in row.items()} for row in fetched]


async def test_every_row_of_the_version_before_is_kept(postgres_dsn: str) -> None:
    async with restored(postgres_dsn) as dsn:
        connection = await asyncpg.connect(dsn)
        before, objects = await rows_of(connection), await columns_of(connection, RENAMED)
        assert {row["state"] for row in objects} == {"pending", "leased", "done", "gone", "parked", "forgotten"}
        assert all(before[name] for name in before if name != "clock"), "the dump has rows in every table"
        await connection.close()

        connection = await asyncpg.connect(dsn)
        assert await migrations.migrate(connection) == len(migrations.steps()) > 4
        after = await rows_of(connection)
        assert await columns_of(connection, {}) == [row | ADDED for row in objects]
        for name in set(before) - {"objects"}:
            pairs = zip(after[name], before[name], strict=True)
            assert all(row == row | earlier for row, earlier in pairs), name
        await connection.close()


async def test_work_goes_on_where_it_was(postgres_dsn: str) -> None:
    async with restored(postgres_dsn) as dsn:
        connection = await asyncpg.connect(dsn)
        await migrations.migrate(connection)
        leased = await connection.fetchval("select id from objects where key = 'leased.jpg'")
        await connection.close()
        database = await Database.connect(dsn)
        ledger = Ledger(database, {1: DEFAULT_POLICY})
        assert await ledger.settle([Settlement(leased, 7, None, Published("v1", None, {}))]) == [(1, "leased.jpg")]
        claimed = {lease.key: lease for lease in await ledger.claim(1, "work", 5, None, 60)}
        assert set(claimed) == {"pending.jpg"}
        assert claimed["pending.jpg"].token > 7
        [balance] = await ledger.fetch("balance")
        assert tuple(balance) == (0, 0)
        await database.aclose()


async def test_machines_of_the_version_before_go_on_being_known(postgres_dsn: str) -> None:
    async with restored(postgres_dsn) as dsn:
        connection = await asyncpg.connect(dsn)
        [label] = [
            row["label"] for row in await connection.fetch("select label from workers where state <> 'gone' limit 1")
        ]
        await migrations.migrate(connection)
        await connection.close()
        database = await Database.connect(dsn)
        fleet = LedgerFleet(Ledger(database, {}), owner="yurt", pipelines=lambda _: [], slots={}, limits={})
        assert label in {machine.label for machine in await fleet.machines()}
        assert installation_of(label) == ""
        intent = await fleet.intend("a", "cloud", 1_000)
        assert isinstance(intent, Intent)
        assert installation_of(intent.label) == await fleet.installation() != ""
        await database.aclose()
