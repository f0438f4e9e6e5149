"""Ceilings of the ledger's figures: the same rows written and leased through bare asyncpg."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import asyncpg

from tests.bench.load import Measured, chunks, key_of, run

_UPSERT = """
    insert into objects (pipeline_id, key, state, lane, due_at, event_at, verdict, mark, event_etag, event_size)
    select $1, e.key, 'pending', 'work', $5, $5, 'accepted', e.mark, e.etag, e.size
    from unnest($2::text[], $3::bytea[], $4::text[], $6::bigint[]) as e (key, mark, etag, size)
    on conflict (pipeline_id, key) do update
        set mark = excluded.mark, event_etag = excluded.event_etag, event_at = excluded.event_at
"""
_CLAIM = """
    with due as (
        select id from objects where pipeline_id = $1 and lane = 'work' and state = 'pending' and due_at <= now()
        order by due_at limit $2 for update skip locked
    )
    update objects as o set state = 'leased', token = nextval('lease_tokens'), deadline = now() + interval '1 minute'
    from due where o.id = due.id returning o.id, o.token, o.key
"""
_SETTLE = """
    update objects as o set state = 'done', deadline = null, done_at = now(), done_etag = 'x'
    from unnest($1::bigint[], $2::bigint[]) as s (id, token)
    where o.id = s.id and o.state = 'leased' and o.token = s.token
"""


async def upserts(dsn: str, pipeline: int, rows: int, first: int, seconds: float) -> Measured:
    """Measure committed upserts in batches of ``rows`` over one connection."""
    connection = await asyncpg.connect(dsn)
    numbers = chunks(first, rows)

    async def call() -> int:
        await connection.execute(_UPSERT, *_columns(pipeline, next(numbers)))
        return rows

    try:
        return await run(1, _ready(call), seconds)
    finally:
        await connection.close()


async def coalesced_inserts(dsn: str, pipeline: int, tasks: int, first: int, seconds: float) -> Measured:
    """Measure single rows of ``tasks`` writers, coalesced into one committed statement a flush."""
    connection = await asyncpg.connect(dsn)
    numbers = chunks(first, 1)
    waiting: list[tuple[int, asyncio.Future[None]]] = []
    wake = asyncio.Event()

    async def flush() -> None:
        while True:
            await wake.wait()
            wake.clear()
            batch, waiting[:] = waiting[:], []
            await connection.execute(_UPSERT, *_columns(pipeline, [number for number, _ in batch]))
            for _, done in batch:
                done.set_result(None)

    async def call() -> int:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append((next(numbers)[0], done))
        wake.set()
        await done
        return 1

    flusher = asyncio.create_task(flush())
    try:
        return await run(tasks, _ready(call), seconds)
    finally:
        flusher.cancel()
        await connection.close()


async def claims(dsn: str, pipeline: int, tasks: int, batch: int, seconds: float) -> Measured:
    """Measure SKIP LOCKED claims and their settlements, each committed, over ``tasks`` connections."""
    pool = await asyncpg.create_pool(dsn, min_size=tasks, max_size=tasks)

    async def call() -> int:
        async with pool.acquire() as connection:
            rows = await connection.fetch(_CLAIM, pipeline, batch)
            await connection.execute(_SETTLE, [row[0] for row in rows], [row[1] for row in rows])
        return len(rows)

    try:
        return await run(tasks, _ready(call), seconds)
    finally:
        await pool.close()


def _ready(call: Callable[[], Awaitable[int]]) -> Callable[[int], Awaitable[Callable[[], Awaitable[int]]]]:
    async def prepare(_: int) -> Callable[[], Awaitable[int]]:
        return call

    return prepare


def _columns(pipeline: int, numbers: range | list[int]) -> tuple[object, ...]:
    return (
        pipeline,
        [key_of(number) for number in numbers],
        [number.to_bytes(12, "big") for number in numbers],
        [f"{number:032x}" for number in numbers],
        datetime.now(UTC),
        [1_048_576] * len(numbers),
    )
