from __future__ import annotations

import asyncio

from pydantic import SecretStr

from tests.webhook.plane import control_plane
from webhook.background import Background


async def test_a_replica_that_is_to_stop_before_it_leads_ends_all_its_loops(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        stop = asyncio.Event()
        stop.set()
        before = asyncio.all_tasks()
        await asyncio.wait_for(Background(plane.services, plane.dsn, SecretStr("")).run("http://127.0.0.1", stop), 30)
        assert asyncio.all_tasks() == before
