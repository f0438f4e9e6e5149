"""Following the ledger's definitions, and the end of that."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator

from tests.polling import until
from tests.webhook.plane import control_plane
from webhook.loops import LoopHealth


class CountedTurns(LoopHealth):
    """Tells when a loop has come through a turn, and so waits for the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()

    @contextlib.contextmanager
    def turn(self, loop: str, within_seconds: float = math.inf) -> Iterator[None]:
        with super().turn(loop, within_seconds):
            yield
        self.ended.set()


async def test_following_ends_though_it_was_notified_in_the_same_moment(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        definitions, turns = plane.services.definitions, CountedTurns()
        following = asyncio.create_task(definitions.watch(turns))
        await turns.ended.wait()
        definitions.notified()
        await asyncio.sleep(0)
        following.cancel()
        await until(following.done, seconds=20, failure="it goes on after it was cancelled")
