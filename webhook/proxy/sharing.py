"""Shares the machines of services among the replicas of the control plane, by the ledger.

A replica says how many requests wait and are under way, takes slots of machines for those that wait, and gives back
what nothing has used for a moment, or what is more than its share while requests wait elsewhere. Where there are too
few machines it has the ledger give the service another one of its pool; the autoscaler counts the same numbers as
demand. With its signs of life it adds the requests that have come to what arrives in the hour, from which pools learn:
no request costs a write. One loop does all that: it turns at once when a request finds no slot, and a few times a
second while some wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, MutableMapping

import structlog

from webhook.ledger.services import ReleasedSlot, Replica, ServiceLedger, ServiceLoad, ServingMachine
from webhook.loops import LoopHealth
from webhook.pool_settings import Pool
from webhook.proxy.exchange import ServiceMachine
from webhook.proxy.queue import HeldMachine, NoMachine, ServiceQueue
from webhook.proxy.registry import MachineRegistry

log = structlog.get_logger()

BEAT_SECONDS = 4.0
"""Between two signs of life of a replica."""
BUSY_SECONDS = 0.25
"""Between two turns while requests wait."""
CALM_SECONDS = 1.0
"""The same while none waits, but slots are held."""
UNUSED_SECONDS = 3.0
"""A slot that no request has used for so long goes back to the ledger."""
REASON_SECONDS = 5.0
"""For so long requests wait though nothing is minted: what forbids it may pass."""
YIELD_SECONDS = 1.0
"""After giving slots to other replicas, none are taken for so long."""
_LOG_CHARACTERS = 2_000
_TAKING = frozenset({"given", "ready"})
"""States of machines that are given requests where there is a way to them. One that was just given back to its service
may have its server still, and does not say so again; any other state is its worker's word that it takes none."""

Reach = Callable[[ServingMachine], ServiceMachine | None]
"""Finds a way to a machine that leads through another replica, or to its address. None: there is none."""


class ServiceSharing:
    """This replica's part of all services. Use on one event loop."""

    def __init__(
        self,
        ledger: ServiceLedger,
        replica: Replica,
        queues: MutableMapping[str, ServiceQueue],
        registry: MachineRegistry,
        reach: Reach,
        pools: Mapping[str, Pool],
        health: LoopHealth | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._replica = replica
        self._queues = queues
        self._registry = registry
        self._reach = reach
        self._pools = pools
        self._health = health or LoopHealth()
        self._clock = clock
        self._kicked = asyncio.Event()
        self._beaten_at = -math.inf
        self._written: dict[str, ServiceLoad] = {}
        self._changed_ways: set[int] = set()
        self._yielded_at: dict[str, float] = {}
        self._counted: set[str] = set()
        registry.listen(self._way_changed)

    def kick(self) -> None:
        """Take a turn now."""
        self._kicked.set()

    async def run(self) -> None:
        """Take turns, for ever."""
        while True:
            if not self._queues:  # no service is defined: nothing to say of this replica
                await self._kicked.wait()
            self._kicked.clear()
            with self._health.turn("services"):
                await self.turn()
            try:
                async with asyncio.timeout(self._pause_seconds()):
                    await self._kicked.wait()
            except TimeoutError:
                continue

    async def leave(self) -> None:
        """Give back all that this replica holds."""
        await self._count_requests()
        await self._ledger.forget_replica(self._replica)

    async def turn(self) -> None:
        """Bring queues and ledger together once."""
        if self._clock() - self._beaten_at >= BEAT_SECONDS:
            await self._beat()
        await self._note_ways()
        await self._note_loads()
        for name in [name for name, queue in self._queues.items() if queue.has_ended]:
            del self._queues[name]
        active = [queue for queue in self._queues.values() if queue.waiting or queue.held]
        if not active:
            return
        seen = await self._ledger.machines(self._replica, [queue.name for queue in active])
        for queue in active:
            await self._share(queue, [machine for machine in seen if machine.service == queue.name])
        await self._release(active)

    # ── signs of life ────────────────────────────────────────────────────────────────────────────────────────────────

    def _pause_seconds(self) -> float:
        queues = self._queues.values()
        if any(queue.waiting for queue in queues):
            return BUSY_SECONDS
        return CALM_SECONDS if any(queue.held for queue in queues) else BEAT_SECONDS

    async def _beat(self) -> None:
        known = await self._ledger.beat(self._replica)
        self._beaten_at = self._clock()
        if not known:  # all that it had written is gone
            self._written = {}
            self._changed_ways |= set(self._registry.all())
            for queue in self._queues.values():
                queue.machines.clear()
        await self._count_requests()

    async def _count_requests(self) -> None:
        """Have the ledger count the requests that have come since the last time, of services that are new also none."""
        come = {name: queue.arrived for name, queue in self._queues.items()}
        come = {name: count for name, count in come.items() if count or name not in self._counted}
        if not come:
            return
        await self._ledger.count_requests(come)
        self._counted |= set(come)
        for name, count in come.items():
            if (queue := self._queues.get(name)) is not None:
                queue.arrived -= count

    def _way_changed(self, service: str, worker_id: int) -> None:
        self._changed_ways.add(worker_id)
        queue = self._queues.get(service)
        if queue is not None and self._registry.way(service, worker_id) is None:
            queue.lost_way(worker_id)
        self.kick()

    async def _note_ways(self) -> None:
        while self._changed_ways:
            worker_id = self._changed_ways.pop()
            try:
                if (service := self._registry.all().get(worker_id)) is not None:
                    await self._ledger.note_way(self._replica, worker_id, service)
                else:
                    await self._ledger.forget_way(self._replica, worker_id)
            except BaseException:
                self._changed_ways.add(worker_id)
                raise

    async def _note_loads(self) -> None:
        loads = {name: queue.load for name, queue in self._queues.items() if queue.load != ServiceLoad()}
        if loads != self._written:
            await self._ledger.note_loads(self._replica, loads)
            waited = {name for name, load in self._written.items() if load.waiting}
            self._written = loads
            if any(load.waiting and name not in waited for name, load in loads.items()):
                await self._ledger.wake_autoscaler()

    # ── slots ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _share(self, queue: ServiceQueue, seen: list[ServingMachine]) -> None:
        self._update(queue, seen)
        queue.serve()
        if queue.waiting and self._clock() - self._yielded_at.get(queue.name, -math.inf) >= YIELD_SECONDS:
            await self._claim(queue, seen)
            queue.serve()
        if queue.waiting:
            await self._get_machines(queue, seen)
        if queue.held:
            await self._divide(queue, seen)

    def _update(self, queue: ServiceQueue, seen: list[ServingMachine]) -> None:
        """Take over what the ledger says: machines that are there, slots that are still this replica's."""
        there = {machine.worker_id: machine for machine in seen}
        for worker_id in [each for each in queue.machines if each not in there]:
            del queue.machines[worker_id]
        for worker_id, machine in there.items():
            held = queue.machines.get(worker_id)
            if held is None:
                held = queue.machines[worker_id] = HeldMachine(worker_id, None, local=False)
            way = self._registry.way(queue.name, worker_id)
            held.local, held.draining = way is not None, machine.draining
            held.is_ready = machine.state in _TAKING
            held.way = way or self._reach(machine)
            own = set(machine.own_slots)
            held.busy &= own
            held.free = {slot: since for slot, since in held.free.items() if slot in own}
            for slot in own - held.busy - set(held.free):
                held.free[slot] = self._clock()

    async def _claim(self, queue: ServiceQueue, seen: list[ServingMachine]) -> None:
        """Take slots for the requests that wait, of the machines with the fewest that are taken."""
        missing = queue.shortage
        taken = {
            machine.worker_id: machine.held for machine in seen if queue.may_use(queue.machines[machine.worker_id])
        }
        wanted: dict[int, int] = {}
        while missing > 0 and taken:
            worker_id = min(taken, key=lambda each: (taken[each], not queue.machines[each].local))
            if taken[worker_id] >= queue.settings.concurrency:
                break
            taken[worker_id] += 1
            wanted[worker_id] = wanted.get(worker_id, 0) + 1
            missing -= 1
        for worker_id, most in wanted.items():
            slots = await self._ledger.claim_slots(
                self._replica, worker_id, queue.name, most, queue.settings.concurrency
            )
            held = queue.machines[worker_id]
            held.free |= {slot: self._clock() for slot in slots}

    async def _get_machines(self, queue: ServiceQueue, seen: list[ServingMachine]) -> None:
        """Have the service given machines; end the waits for which none will come."""
        settings = queue.settings
        pool = self._pools.get(settings.pool)
        if pool is None:  # the definitions change in this very moment
            return
        idle_seconds = pool.idle_seconds if settings.idle_seconds is None else settings.idle_seconds
        given = await self._ledger.give(queue.name, settings.pool, settings.concurrency, idle_seconds)
        if given:
            log.info("machines given", service=queue.name, workers=list(given))
            return
        staying = [machine for machine in seen if not machine.draining]
        if staying:
            if all(machine.state == "failing" for machine in staying):
                queue.refuse(NoMachine(_failure(queue, staying)))
            return
        await self._refuse_without_machines(queue, pool.limit)

    async def _refuse_without_machines(self, queue: ServiceQueue, limit: int) -> None:
        pool = queue.settings.pool
        if limit == 0:
            queue.refuse(NoMachine(f"pool {pool} of service {queue.name} may have no machine: raise its limit"))
            return
        outlook = await self._ledger.outlook(pool)
        if outlook.not_minted and not outlook.starting and queue.waited_seconds >= REASON_SECONDS:
            queue.refuse(NoMachine(f"service {queue.name} gets no machine of pool {pool}: {outlook.not_minted}"))

    async def _divide(self, queue: ServiceQueue, seen: list[ServingMachine]) -> None:
        """Have slots go to other replicas where requests wait, and this one has more than its share."""
        if any(machine.held < queue.settings.concurrency for machine in seen if not machine.draining):
            return
        everywhere = (await self._ledger.loads()).get(queue.name, ServiceLoad())
        own, slots = queue.load, sum(machine.held for machine in seen)
        if everywhere.waiting <= own.waiting:
            return
        share = slots * (own.waiting + own.in_flight) / max(1, everywhere.waiting + everywhere.in_flight)
        queue.surrender = max(0, queue.held - math.floor(share))

    async def _release(self, active: list[ServiceQueue]) -> None:
        released = []
        for queue in active:
            surrendered = queue.surrender
            slots = queue.releasable(UNUSED_SECONDS)
            released += [ReleasedSlot(*slot) for slot in slots]
            if queue.surrender < surrendered:
                self._yielded_at[queue.name] = self._clock()
            queue.serve()
        if released:
            await self._ledger.release_slots(self._replica, released)


def _failure(queue: ServiceQueue, machines: list[ServingMachine]) -> str:
    """Why the servers of a service do not become ready, with the end of one's log.

    Of a public one only that they do not: a log may show anything, and whoever asks may be anyone.
    """
    service, machine = queue.name, machines[0]
    if queue.settings.public:
        return f"the server of service {service} does not become ready: yurt services shows why"
    tail = machine.log[-_LOG_CHARACTERS:]
    said = f". Its log ends with:\n{tail}" if tail else ""
    return f"the server of service {service} does not become ready: {machine.message or 'it fails'}{said}"
