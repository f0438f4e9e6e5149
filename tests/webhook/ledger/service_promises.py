"""What the ledger promises of services: which machine serves which one, and whose its slots are.

Each function tries one promise. `tests/simulation/test_service_mutants.py` takes out the guards on which they rest.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.webhook.ledger.ledger_bench import LedgerBench, bench
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.services import (
    REPLICA_SECONDS,
    ReleasedSlot,
    Replica,
    ServiceLedger,
    ServiceLoad,
    ServingMachine,
    token_hash,
)

SERVICES = {"sdxl": 2, "chat": 1}
"""Requests that one machine works on at once."""


@dataclass
class ServiceBench:
    """A ledger with two services on a pool, and two replicas."""

    bench: LedgerBench
    ledger: ServiceLedger = field(init=False)
    fleet: LedgerFleet = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = ServiceLedger(self.bench.ledger)
        self.fleet = LedgerFleet(
            self.bench.ledger, owner="yurt", pipelines=lambda _: [], slots={}, limits={}, services=lambda _: SERVICES
        )

    async def replica(self, name: str = "a") -> Replica:
        replica = Replica(name, token_hash(f"token of {name}"), f"http://{name}")
        await self.ledger.beat(replica)
        return replica

    async def worker(self, state: str = "ready", *, serves: bool = True) -> int:
        id = await self.bench.worker(state)
        await self.bench.sql("update workers set serves = $2, ready_at = yurt_now() where id = $1", id, serves)
        return id

    async def give(self, service: str = "sdxl", idle_seconds: float = 100) -> list[int]:
        return sorted(await self.ledger.give(service, "local", SERVICES[service], idle_seconds))

    async def demand(self) -> int:
        return (await self.fleet.demand("local", 100)).machines

    async def claim(self, replica: Replica, worker: int, most: int = 9, service: str = "sdxl") -> int:
        return len(await self.ledger.claim_slots(replica, worker, service, most, SERVICES[service]))

    async def seen(self, worker: int, replica: Replica | None = None) -> ServingMachine:
        [machine] = [each for each in await self.ledger.machines(replica) if each.worker_id == worker]
        return machine


@contextlib.asynccontextmanager
async def services(postgres_dsn: str) -> AsyncIterator[ServiceBench]:
    async with bench(postgres_dsn) as b:
        yield ServiceBench(b)


async def requests_that_wait_are_demand_and_those_that_left_are_not(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        one, other = await s.replica("a"), await s.replica("b")
        assert await s.demand() == 0
        await s.ledger.note_loads(one, {"sdxl": ServiceLoad(waiting=2), "chat": ServiceLoad(waiting=1)})
        await s.ledger.note_loads(other, {"sdxl": ServiceLoad(waiting=1)})
        assert await s.demand() == 2 + 1, "three requests of two a machine, and one"
        await s.ledger.note_loads(one, {})
        assert await s.demand() == 1
        await s.bench.advance(REPLICA_SECONDS + 1)
        assert await s.demand() == 0, "a replica that is dead has no requests"


async def a_service_gets_as_many_machines_as_its_requests_need(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        replica = await s.replica()
        workers = [await s.worker() for _ in range(3)]
        await s.worker("draining")
        await s.worker(serves=False)
        await s.ledger.note_loads(replica, {"sdxl": ServiceLoad(waiting=3)})
        assert len(await s.give()) == 2
        assert await s.give() == [], "these are enough"
        await s.ledger.note_loads(replica, {"sdxl": ServiceLoad(waiting=3), "chat": ServiceLoad(waiting=5)})
        [third] = await s.give("chat")
        assert third in workers
        assert await s.ledger.serves(third) == "chat"


async def replicas_that_give_at_once_give_no_machine_twice_and_none_too_many(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        replica = await s.replica()
        for _ in range(6):
            await s.worker()
        await s.ledger.note_loads(replica, {"sdxl": ServiceLoad(waiting=4), "chat": ServiceLoad(waiting=2)})
        given = await asyncio.gather(*(s.give(name) for name in ("sdxl", "chat") * 4))
        assert sum(map(len, given)) == 2 + 2, given
        assert len({worker for workers in given for worker in workers}) == 4


async def no_slot_is_given_to_two_replicas(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        one, other = await s.replica("a"), await s.replica("b")
        worker = await s.worker()
        await s.ledger.note_loads(one, {"sdxl": ServiceLoad(waiting=1)})
        await s.give()
        assert await s.claim(one, worker, service="chat") == 0, "it serves another service"
        # Of two that want the same one, one gets none, and asks again.
        got = [await asyncio.gather(*(s.claim(replica, worker, 1) for replica in (one, other) * 4)) for _ in "ab"]
        assert sum(map(sum, got)) == SERVICES["sdxl"]
        assert (await s.seen(worker)).held == SERVICES["sdxl"]


async def slots_of_a_dead_replica_are_free_again(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        one, other = await s.replica("a"), await s.replica("b")
        worker = await s.worker()
        await s.ledger.note_loads(one, {"sdxl": ServiceLoad(waiting=1)})
        await s.give(idle_seconds=5)
        assert await s.claim(one, worker) == 2
        await s.bench.advance(REPLICA_SECONDS - 1)
        assert await s.ledger.beat(other)
        assert await s.claim(other, worker) == 0
        await s.bench.advance(2)
        assert await s.ledger.beat(other)
        assert await s.claim(other, worker) == 2
        assert not await s.ledger.beat(one), "it is told that all it held is gone"
        assert (await s.seen(worker, one)).own_slots == []
        assert (await s.seen(worker)).unused_seconds == 0, "its requests may have ended just now"


async def a_machine_that_serves_is_busy_and_idle_since_its_last_request(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        replica = await s.replica()
        worker = await s.worker()
        await s.ledger.note_loads(replica, {"sdxl": ServiceLoad(waiting=1)})
        await s.give(idle_seconds=30)
        slots = await s.ledger.claim_slots(replica, worker, "sdxl", 1, 2)
        await s.ledger.note_loads(replica, {"sdxl": ServiceLoad(in_flight=1)})
        for _ in range(5):
            await s.bench.advance(10)
            await s.ledger.beat(replica)
        [machine] = await s.fleet.machines()
        assert (machine.serving, machine.idle_seconds, machine.keep_seconds, machine.busy) == (1, 0, 30, 1)
        assert await s.demand() == 1
        await s.ledger.note_loads(replica, {})
        await s.ledger.release_slots(replica, [ReleasedSlot(worker, slot, 3) for slot in slots])
        [machine] = await s.fleet.machines()
        assert (machine.serving, machine.idle_seconds) == (0, 3)
        assert await s.demand() == 1, "it is kept"
        await s.bench.advance(28)
        assert await s.demand() == 0, "it is to go"


async def a_machine_that_drains_gets_no_more_requests_and_those_it_has_are_no_demand(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        replica = await s.replica()
        worker = await s.worker()
        await s.ledger.note_loads(replica, {"sdxl": ServiceLoad(waiting=1)})
        await s.give()
        assert await s.claim(replica, worker, 1) == 1
        await s.ledger.note_loads(replica, {"sdxl": ServiceLoad(in_flight=1)})
        assert await s.fleet.drain(worker, "limit")
        assert await s.claim(replica, worker) == 0
        assert (await s.seen(worker)).draining
        assert await s.demand() == 0
        [machine] = await s.fleet.machines()
        assert machine.busy == 1, "so it is not slain yet"


async def a_machine_that_is_idle_for_long_goes_to_another_service_that_needs_one(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        replica = await s.replica()
        worker = await s.worker()
        await s.ledger.note_loads(replica, {"sdxl": ServiceLoad(waiting=1)})
        await s.give(idle_seconds=30)
        await s.ledger.note_way(replica, worker, "sdxl")
        await s.ledger.note_loads(replica, {"chat": ServiceLoad(waiting=1)})
        assert await s.give("chat") == []
        await s.bench.advance(14)
        await s.ledger.beat(replica)
        await s.bench.advance(16)
        await s.ledger.beat(replica)
        await s.ledger.note_loads(replica, {"chat": ServiceLoad(waiting=1)})
        assert await s.give("chat") == [worker]
        machine = await s.seen(worker)
        assert (machine.service, machine.state, list(machine.replicas)) == ("chat", "given", [])


async def a_tunnel_makes_a_server_ready_at_the_replica_where_it_ends(postgres_dsn: str) -> None:
    async with services(postgres_dsn) as s:
        one, other = await s.replica("a"), await s.replica("b")
        worker = await s.worker()
        await s.ledger.note_way(one, worker, "sdxl")
        assert await s.ledger.machines() == [], "it was given to no service"
        await s.ledger.note_loads(one, {"sdxl": ServiceLoad(waiting=1)})
        await s.give()
        assert await s.ledger.report(worker, "sdxl", "failing", "it ended", "the log")
        assert not await s.ledger.report(worker, "chat", "ready")
        machine = await s.seen(worker)
        assert (machine.state, machine.message, machine.log) == ("failing", "it ended", "the log")
        await s.ledger.note_way(other, worker, "sdxl")
        machine = await s.seen(worker)
        assert (machine.state, machine.message, list(machine.replicas), list(machine.urls)) == (
            "ready", "", ["b"], ["http://b"],
        )  # fmt: skip
        await s.ledger.forget_replica(other)
        assert (await s.seen(worker)).replicas == []


PROMISES = (
    requests_that_wait_are_demand_and_those_that_left_are_not,
    a_service_gets_as_many_machines_as_its_requests_need,
    replicas_that_give_at_once_give_no_machine_twice_and_none_too_many,
    no_slot_is_given_to_two_replicas,
    slots_of_a_dead_replica_are_free_again,
    a_machine_that_serves_is_busy_and_idle_since_its_last_request,
    a_machine_that_drains_gets_no_more_requests_and_those_it_has_are_no_demand,
    a_machine_that_is_idle_for_long_goes_to_another_service_that_needs_one,
    a_tunnel_makes_a_server_ready_at_the_replica_where_it_ends,
)
