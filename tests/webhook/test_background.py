from __future__ import annotations

import asyncio
import contextlib

import pytest
from pydantic import SecretStr

from tests.polling import until
from tests.webhook.plane import RunningPlane, configured, control_plane, event
from webhook.background import Background
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import CHANNEL
from webhook.ledger.machines import Demand
from webhook.pool_settings import Pool


async def test_a_replica_that_is_to_stop_before_it_leads_ends_all_its_loops(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        stop = asyncio.Event()
        stop.set()
        before = asyncio.all_tasks()
        await asyncio.wait_for(Background(plane.services, plane.dsn, SecretStr("")).run("http://127.0.0.1", stop), 30)
        assert asyncio.all_tasks() == before


@pytest.mark.slow
@pytest.mark.parametrize("work", ["an object", "a request"])
async def test_work_wakes_the_autoscaler(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    seen, whole = list[Demand](), LedgerFleet.demand

    async def demand(fleet: LedgerFleet, pool: str, most: int) -> Demand:
        seen.append(await whole(fleet, pool, most))
        return seen[-1]

    monkeypatch.setattr(LedgerFleet, "demand", demand)
    config = configured(
        pools={"local": Pool(provider="local", limit=1)}, services={"sdxl": {"port": 5000, "public": True}},
        server={"autoscale_seconds": 60},
    )  # fmt: skip
    async with control_plane(postgres_dsn, config) as plane:
        await until(lambda: seen)
        turns = len(seen)

        async def another_turn() -> bool:
            await plane.sql("select pg_notify($1, string_agg(id::text, ',')) from pipelines", CHANNEL)
            return len(seen) > turns

        await until(another_turn, seconds=40, failure="a word that objects are due does not have it look")
        assert set(seen) == {Demand(0, 0)}, "there is nothing to do yet"
        if work == "an object":
            await plane.notify(event("a.jpg"))
        asked = asyncio.create_task(plane.http.get("/services/sdxl/") if work == "a request" else asyncio.sleep(0))
        await until(lambda: machines(plane), seconds=40, failure="it waits for the next turn")
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asked


async def machines(plane: RunningPlane) -> int:
    return int((await plane.sql("select count(*) from workers"))[0][0])
