"""Following the ledger's definitions, and the end of that."""

from __future__ import annotations

import asyncio

from tests.polling import until
from tests.webhook.plane import control_plane
from webhook.loops import LoopHealth


async def test_following_ends_though_it_was_notified_in_the_same_moment(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        definitions = plane.services.definitions
        for _ in range(3):
            following = asyncio.create_task(definitions.watch(LoopHealth()))
            await until(lambda: definitions._notified._waiters, pause_seconds=0)  # it waits
            definitions.notified()
            await asyncio.sleep(0)
            following.cancel()
            await until(following.done, seconds=20, failure="it goes on after it was cancelled")
