"""Requests of services are counted in memory, and added to what arrives in the hour with the replica's signs of life.

How slots are shared is tried in `tests/webhook/api/test_services.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import pytest

from tests.webhook.ledger.service_promises import ServiceBench, services
from webhook.ledger.database import LedgerUnusable
from webhook.ledger.services import Replica, token_hash
from webhook.pool_settings import Pool
from webhook.proxy.exchange import ServiceMachine
from webhook.proxy.queue import HeldMachine, ServiceQueue
from webhook.proxy.registry import MachineRegistry
from webhook.proxy.sharing import BEAT_SECONDS, ServiceSharing
from webhook.service_settings import Service

WAY = cast("ServiceMachine", object())
"""Nothing is sent here."""


class SharingReplica:
    """One replica with a queue of a service, whose clock stands still."""

    def __init__(self, s: ServiceBench, name: str) -> None:
        self.now = 0.0
        self.queue = ServiceQueue("sdxl", Service(port=1, queue=2), lambda: None, clock=lambda: self.now)
        replica = Replica(name, token_hash(f"token of {name}"), "")
        pools = {"local": Pool(provider="none")}
        self.sharing = ServiceSharing(
            s.ledger, replica, {"sdxl": self.queue}, MachineRegistry(), lambda _: None, pools, clock=lambda: self.now
        )

    async def serve(self, requests: int) -> None:
        """Have so many requests come and be answered, without a turn of the loop between them."""
        self.queue.machines[1] = HeldMachine(1, WAY, local=True, free={0: 0.0})
        for _ in range(requests):
            async with self.queue.turn():
                pass
        self.queue.machines.clear()

    async def beat(self) -> None:
        """Turn once, when the next sign of life is due."""
        self.now += BEAT_SECONDS
        await self.sharing.turn()


async def counted(s: ServiceBench) -> list[int]:
    async with s.bench.database.connection() as connection:
        rows = await connection.fetch("select requests from service_arrivals where service = 'sdxl' order by hour")
    return [row["requests"] for row in rows]


@contextlib.asynccontextmanager
async def not_there(s: ServiceBench, table: str) -> AsyncIterator[None]:
    """Whoever writes to a table fails."""
    await s.bench.sql(f"alter table {table} rename to away")
    try:
        yield
    finally:
        await s.bench.sql(f"alter table away rename to {table}")


async def test_requests_are_added_to_the_hour_with_the_next_sign_of_life(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        a, b = SharingReplica(s, "a"), SharingReplica(s, "b")
        await a.beat()
        await a.serve(3)
        await a.sharing.turn()
        assert (await counted(s), a.queue.arrived) == ([], 3), "no request is a write"
        await b.serve(4)
        await asyncio.gather(a.beat(), b.beat())
        await a.beat()
        assert (await counted(s), a.queue.arrived) == ([7], 0)
        await s.bench.advance(3_600)
        await b.serve(1)
        await b.beat()
        assert await counted(s) == [7, 1]


async def test_counting_begins_before_the_first_request_and_nothing_is_written_while_none_comes(
    postgres_dsn: str,
) -> None:
    async with services(postgres_dsn) as s:
        a = SharingReplica(s, "a")
        await a.beat()
        [row] = await s.bench.ledger.fetch("arrival_history", [], ["sdxl"], 6)
        await s.bench.advance(604_800)
        [after] = await s.bench.ledger.fetch("arrival_history", [], ["sdxl"], 6)
        assert (row["weeks"], after["weeks"], await counted(s)) == (0, 1, [])
        async with not_there(s, "service_arrivals"):
            await a.beat()


async def test_a_replica_that_leaves_adds_what_has_come(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        a = SharingReplica(s, "a")
        await a.beat()
        await a.serve(2)
        await a.sharing.leave()
        assert await counted(s) == [2]


async def test_what_could_not_be_written_is_added_later(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        a = SharingReplica(s, "a")
        await a.serve(2)
        async with not_there(s, "service_arrivals"):
            with pytest.raises(LedgerUnusable):
                await a.beat()
        await a.serve(1)
        await a.beat()
        assert await counted(s) == [3]


async def test_requests_that_find_the_queue_full_count_too(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        a = SharingReplica(s, "a")
        waiting = [asyncio.create_task(a.queue.take(())) for _ in range(3)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1, "the third one found it full"
        await a.beat()
        assert await counted(s) == [3]
        for task in waiting:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
