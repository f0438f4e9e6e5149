"""A ledger with very much in it: 10,000 objects, 500 machines, and as much of everything else that the page shows."""

from __future__ import annotations

import asyncpg

OBJECTS = 10_000
MACHINES = 500

_STATEMENTS = (
    f"""
    insert into objects (pipeline_id, key, state, lane, due_at, event_at, verdict, mark, event_etag, event_size,
        attempts, done_etag, done_at, done_verdict, published, error)
    select p.id, 'uploads/2026/photo-' || lpad(n::text, 5, '0') || '.jpg',
           (case when n % 10 = 0 then 'parked' when n % 10 = 1 then 'pending' else 'done' end)::object_state, 'work',
           yurt_now(), yurt_now() - interval '2 s', 'accepted', int8send(n), md5(n::text), 1048576, n % 3,
           case when n % 10 > 1 then md5(n::text) end, case when n % 10 > 1 then yurt_now() end,
           case when n % 10 > 1 then
               (case when n % 100 = 2 then 'refused' when n % 50 = 3 then 'review' else 'ok' end)::result_verdict end,
           case when n % 10 > 1 then '{{"256.webp": "e", "result.json": "r"}}'::jsonb end,
           case when n % 10 = 0 then
               jsonb_build_object('reason', 'unreadable', 'message', 'It is no photo.', 'log', repeat('line ', 100)) end
    from generate_series(1, {OBJECTS}) as n, (select min(id) as id from pipelines) as p
    """,
    f"""
    insert into workers (pool, provider, label, ref, state, slots, once_hash, ready_at, seen_at, active_at,
        usd_per_hour)
    select 'local', 'none', 'yurt-many-' || n, 'ref-' || n, case when n % 9 = 0 then 'draining' else 'ready' end, 4,
           int4send(n), yurt_now(), yurt_now(), yurt_now(), 0.3
    from generate_series(1, {MACHINES}) as n
    """,
    f"""
    insert into settles (object_id, pipeline_id, key, state, changed, etag, settled_at)
    select id, pipeline_id, key, state, true, done_etag, yurt_now() from objects where state = 'done' limit {OBJECTS}
    """,
    f"""
    insert into quarantine (source, reason, raw, digest, times, received_at)
    select 'tigris', 'no key ' || n, 'raw', int4send(n), 1, yurt_now() from generate_series(1, {OBJECTS}) as n
    """,
    f"""
    insert into callbacks (position, pipeline_id, object_id, key, settled_as, settled_at, state, due_at, attempts,
        ended_at)
    select n, p.id, n, 'uploads/2026/photo-' || n || '.jpg', 'done', yurt_now(), 'told', yurt_now(), 1, yurt_now()
    from generate_series(1, {OBJECTS}) as n, (select min(id) as id from pipelines) as p
    """,
    f"""
    insert into callback_feeds (pipeline_id, position, fed_at, fed, told)
    select min(id), {OBJECTS}, yurt_now(), {OBJECTS}, {OBJECTS} from pipelines
    """,
    f"""
    insert into app_tokens (name, token_hash, hint, scopes, calls_per_second, burst_calls)
    select 'app ' || n, int4send(n), 'yurt_app_' || n, '{{read:*}}', 50, 100 from generate_series(1, {MACHINES}) as n
    """,
    f"""
    insert into sweeps (pipeline_id, kind, prefix, state, pages_per_second, scheduled, dry_run)
    select p.id, 'backfill', '', 'done', 1, false, false
    from generate_series(1, {MACHINES}) as n, (select min(id) as id from pipelines) as p
    """,
    "analyze",
)


async def fill(dsn: str) -> None:
    """Insert all of it into the ledger of a control plane that runs."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in _STATEMENTS:
            await connection.execute(statement, timeout=600)
    finally:
        await connection.close()
