"""Measures one turn of the autoscaler over a thousand machines, a boot, and our scaling rule beside published ones."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.bench import cold_start, scaling
from tests.bench.report import BenchFigure
from tests.postgres import database, server
from tests.webhook.fleet.cloud_fleet import Cloud
from webhook.fleet.autoscaler import Autoscaler
from webhook.fleet.providers import Instance
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import Ledger
from webhook.pool_settings import Pool

_MACHINES = 1_000
_LEASES = 4
"""Of each machine."""
_TURNS = 20


async def measure(folder: Path) -> list[BenchFigure]:
    """Measure all figures of this part."""
    turn = await asyncio.to_thread(_one_turn, folder / "ledger")
    return [turn, *await cold_start.measure(folder), *scaling.measure()]


def _one_turn(folder: Path) -> BenchFigure:
    with server(folder) as dsn:
        return asyncio.run(_turn(dsn))


async def _turn(dsn: str) -> BenchFigure:
    async with database(dsn) as (connected, _):
        async with connected.connection() as connection:
            await connection.execute(
                "insert into workers (pool, provider, label, ref, state, slots, once_hash, ready_at, seen_at,"
                " active_at, usd_per_hour) select 'a', 'cloud', 'yurt-a-' || n, 'r' || n, 'ready', 4,"
                " int4send(n), yurt_now(), yurt_now(), yurt_now(), 0.3 from generate_series(1, $1) as n",
                _MACHINES,
            )
            await connection.execute("insert into pipelines (name, bucket) values ('photos', 'in')")
            await connection.execute(
                "insert into objects (pipeline_id, key, state, lane, due_at, event_at, verdict, mark, worker_id, token,"
                " deadline, leased_at) select 1, w.id || '-' || n, 'leased', 'work', yurt_now(), yurt_now(), '', '',"
                " w.id, w.id * 10 + n, yurt_now() + interval '1 hour', yurt_now()"
                " from workers as w, generate_series(1, $1) as n",
                _LEASES,
            )
        ledger = Ledger(connected, {})
        return await _turns(LedgerFleet(ledger, owner="yurt", pipelines=lambda _: [1], slots={"a": 4}, limits={}))


async def _turns(fleet: LedgerFleet) -> BenchFigure:
    cloud = Cloud(there={f"yurt-a-{n}": Instance(f"yurt-a-{n}", f"r{n}") for n in range(1, _MACHINES + 1)})
    pool = Pool.model_validate({
        "provider": "cloud", "limit": _MACHINES, "minimum": _MACHINES, "budget_usd_per_day": 100_000,
        "silent_seconds": 3600,
    })  # fmt: skip
    autoscaler = Autoscaler(fleet, {"a": pool}, {"cloud": cloud}, url="http://yurt")
    await autoscaler.tick()
    took = []
    for _ in range(_TURNS):
        began = time.perf_counter()
        await autoscaler.tick()
        took.append((time.perf_counter() - began) * 1e3)
    assert not cloud.slain
    median = sorted(took)[len(took) // 2]
    return BenchFigure(
        f"one turn of the autoscaler, {_MACHINES:,} machines with {_LEASES * _MACHINES:,} leases in one pool",
        median,
        "ms",
        at_most=250,
    )
