"""Plans that PostgreSQL chooses for the ledger's statements over tables of some size."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg

from tests.postgres import database
from webhook.ledger.ledger import pipeline_id
from webhook.ledger.queries import QUERIES

ROWS = 50_000


_FILL = """
    insert into objects (pipeline_id, key, state, lane, due_at, event_at, verdict, mark, deadline, token)
    select $1, lpad(n::text, 9, '0'),
           (case when n % 2 = 0 then 'done' when n % 500 = 1 then 'leased' else 'pending' end)::object_state,
           (case when n % 100 = 3 then 'check' else 'work' end)::lane,
           yurt_now() + make_interval(secs => (n * 7919) % 1000 - 900), yurt_now(), 'accepted', int8send(n),
           case when n % 500 = 1 then yurt_now() + make_interval(secs => n % 60) end, n
    from generate_series(1, $2::int) as n
"""


MODES = ("force_custom_plan", "force_generic_plan")
"""PostgreSQL plans a prepared statement for its arguments at first, and for any arguments after some executions."""


@contextlib.asynccontextmanager
async def filled(dsn: str) -> AsyncIterator[tuple[int, asyncpg.Connection]]:
    """A pipeline's number, and a connection to a table that was never analyzed: in a database of its own, since what
    PostgreSQL has found out about a table outlives the rows.
    """
    async with database(dsn) as (connected, own):
        number = await pipeline_id(connected, "photos", "photos-in")
        connection = await asyncpg.connect(own)
        try:
            # Else the server analyzes it by itself when it finds the time, in the midst of the plans.
            await connection.execute("alter table objects set (autovacuum_enabled = off)")
            await connection.execute(_FILL, number, ROWS)
            yield number, connection
        finally:
            await connection.close()


async def plan(connection: asyncpg.Connection, mode: str, name: str, *arguments: str) -> list[dict[str, Any]]:
    """All nodes of the plan of a prepared statement, given its arguments as SQL."""
    await connection.execute(f"set plan_cache_mode = {mode}; prepare planned as {QUERIES[name]}")
    execute = f"execute planned ({', '.join(arguments)})" if arguments else "execute planned"
    text = await connection.fetchval(f"explain (format json) {execute}")
    await connection.execute("deallocate planned")
    return list(_nodes(json.loads(text)[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def reads(nodes: list[dict[str, Any]], table: str = "objects") -> set[str]:
    """Indexes that a table is read by, and whether it is read whole."""
    whole = {"Seq Scan" for node in nodes if node.get("Relation Name") == table and node["Node Type"] == "Seq Scan"}
    return whole | {node["Index Name"] for node in nodes if node.get("Index Name", "").startswith(f"{table}_")}


def sorts(nodes: list[dict[str, Any]]) -> bool:
    return any("Sort" in node["Node Type"] for node in nodes)
