"""One simulated day: load, machines, providers, and a control plane that crashes between any two calls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, NoReturn

import structlog

from tests.simulation.draws import Draws
from tests.simulation.fleet.foresight import DaysForesight
from tests.simulation.fleet.invariants import FleetInvariants
from tests.simulation.fleet.market import MACHINES, RentedMachine, SimulatedMarket
from tests.simulation.fleet.service import DaysService
from tests.simulation.fleet.watched_machine import SelfSlaying, watch
from tests.simulation.loop import VirtualLoop
from tests.simulation.world import BrokenInvariant
from tests.webhook.fleet.fleet_memory import MachineRow, MemoryFleet
from webhook.fleet.autoscaler import Autoscaler
from webhook.ledger.costs import reserve_usd
from webhook.ledger.fleet import OPERATOR
from webhook.ledger.machines import Budget, Demand, Intent, Machine, MachineState, NotIntended, Terms
from webhook.pool_settings import Pool

_FAULTS_END = 0.8
"""The last part of a day is without faults: what they left behind must come right."""
LOADS = ("sinusoid", "bursts", "trickle", "on and off")


class RentedFleet(MemoryFleet):
    """The fleet in memory by the day's clock, each call of which the control plane may not survive."""

    def __init__(self, day: SimulatedDay) -> None:
        self.day = day
        super().__init__()

    @property
    def now(self) -> float:
        return self.day.now

    @now.setter
    def now(self, _: float) -> None:
        """It is set by the day."""

    async def machines(self) -> Any:
        await self.day.hop("ledger/machines")
        return await super().machines()

    async def demand(self, pool: str, most: int) -> Demand:
        return replace(await super().demand(pool, most), machines=self.day.service.needed())

    def _machine(self, row: MachineRow) -> Machine:
        machine, service = super()._machine(row), self.day.service
        if row.id not in service.under_way:
            return machine
        serving = service.serving(row)
        idle_seconds = 0 if serving else machine.idle_seconds
        return replace(machine, serving=serving, idle_seconds=idle_seconds, keep_seconds=service.idle_seconds)

    async def intend(self, pool: str, provider: str, limit: int, *terms: Any) -> Intent | NotIntended:
        await self.day.hop("ledger/intend")
        intent = await super().intend(pool, provider, limit, *terms)
        if isinstance(intent, Intent):
            self.day.counts["intents"] += 1
            self.day.counts[f"for {self.rows[intent.id].cause}"] += 1
            self.day.invariants.intended()
        await self.day.hop("ledger/intended")
        return intent

    async def minted(self, id: int, ref: str) -> bool:
        await self.day.hop("ledger/minted")
        return await super().minted(id, ref)

    async def drain(self, id: int, reason: str) -> bool:
        await self.day.hop("ledger/drain")
        return await super().drain(id, reason)

    async def slaying(self, id: int, reason: str, seen: MachineState) -> bool:
        await self.day.hop("ledger/slaying")
        if id in self.rows and self.rows[id].state is seen:
            self.day.invariants.slain(id, reason, seen)
        return await super().slaying(id, reason, seen)

    async def gone(self, id: int, *signs: Any) -> bool:
        await self.day.hop("ledger/gone")
        return await super().gone(id, *signs)

    async def accrue(self, *ids: Any) -> None:
        await self.day.hop("ledger/accrue")
        await super().accrue(*ids)

    async def reprice(self, id: int, usd_per_hour: Decimal) -> bool:
        await self.day.hop("ledger/reprice")
        return await super().reprice(id, usd_per_hour)

    async def avoid(self, machine: Machine, reason: str, seconds: float) -> None:
        await self.day.hop("ledger/avoid")
        await super().avoid(machine, reason, seconds)


@dataclass
class SimulatedDay:
    """State of one day."""

    seed: int
    loop: VirtualLoop
    draws: Draws = field(init=False)
    up: bool = False
    """Whether the control plane runs."""
    down_since: float = 0.0
    """When the control plane went down last."""
    counts: Counter[str] = field(default_factory=Counter)
    failure: BrokenInvariant | None = None
    dearer: Decimal = Decimal(0)
    """What providers charged beyond what the ledger could know."""
    slowest_turn: float = 0.0
    slaying: SelfSlaying = field(default_factory=SelfSlaying)
    clock_ahead: float = 0.0
    """Of the control plane's clock, beside the database's and the providers'."""
    up_since: float = 0.0
    """When the control plane came up last."""
    two_until: float = -1e9
    """When a second leader that had lost the lead, and had not noticed, stopped last, or will."""
    workers_orphan: bool = True
    """Whether workers that have lost the control plane end themselves; not so in a mutant."""

    def __post_init__(self) -> None:
        draws = self.draws = Draws(self.seed)
        self.began = 3_600.0 * draws.choice("day/begins", (0, 0, 15))
        """Hours of a Monday: at midnight the budget begins anew."""
        self.loop.begin_at(self.began)
        self.load = draws.choice("day/load", LOADS)
        self.boot_seconds = draws.choice("day/boot", (2.0, 60.0, 300.0))
        self.service_seconds = draws.choice("day/service", (3.0, 30.0, 240.0))
        self.crash = draws.choice("day/crash", (0.0, 0.0005, 0.003))
        self.agent_fault = draws.choice("day/agent", (0.0, 0.02, 0.2))
        self.two_lead = draws.choice("day/two", (0.0, 0.0, 0.01))
        """Chance of each minute that a second leader is there for a while."""
        limit = draws.choice("day/limit", (1, 3, 8))
        self.foresight = DaysForesight(draws, limit, self.boot_seconds)
        price = draws.choice("day/price", (Decimal("0.2"), Decimal("1.5")))
        self.pool = Pool.model_validate({
            "providers": ["home", "market"], "choose": draws.choice("day/choose", ("first", "cheapest")),
            "limit": limit, "headroom": draws.choice("day/headroom", (0, 0, 0.5)), **self.foresight.settings,
            "max_usd_per_hour": draws.choice("day/dearest", (None, price + MACHINES * Decimal("0.01"))),
            "slots": draws.choice("day/slots", (1, 4)), "boot_seconds": 2 * self.boot_seconds + 60, "idle_seconds": 300,
            "budget_usd_per_day": draws.choice("day/budget", (None, price * limit, 6 * price * limit)),
        })  # fmt: skip
        self.fleet = RentedFleet(self)
        self.fleet.histories["a"] = self.foresight.history
        self.service = DaysService(self)
        self.invariants = FleetInvariants(self)
        self.markets = {
            name: SimulatedMarket(
                self, name, lag_seconds=draws.choice(f"{name}/lag", (0.0, 5.0, 30.0)),
                fault=draws.choice(f"{name}/fault", (0.0, 0.02, 0.2)),
                capacity=draws.choice(f"{name}/room", (0, 2, 50)),
                usd_per_hour=price, bad_machines=draws.choice(f"{name}/bad", (0, 0, 2)),
            )
            for name in ("home", "market")
        }  # fmt: skip
        self._crashed = asyncio.Event()
        self._woken = asyncio.Event()
        """Set where work comes to a pool without machines, as the ledger's NOTIFY does."""
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def now(self) -> float:
        return self.loop.time()

    @property
    def minute_usd(self) -> Decimal:
        """What all machines that there ever were cost within a minute."""
        return sum((market.usd_per_hour_of_all for market in self.markets.values()), Decimal(0)) / 60

    @property
    def budget(self) -> Budget:
        return Budget(self.pool.budget_usd_per_day)

    def affords_one(self, spare_seconds: int = 0) -> bool:
        """Whether the budget carries another machine of the dearest offer, with something to spare."""
        dearest = max(market.usd_per_hour for market in self.markets.values()) + Decimal("0.08")
        left = self.fleet.spending("a").left(self.budget)
        needed = reserve_usd(Terms(dearest, reserve_seconds=self.pool.reserve_seconds, spare_seconds=spare_seconds))
        return left is None or left > needed + dearest / 10

    def fail(self, broken: BrokenInvariant) -> None:
        """End the day with a violation."""
        if self.failure is None:
            self.failure = broken

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the rest."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def later(self, seconds: float, do: Callable[[], object]) -> None:
        """Do something after a while."""
        self.loop.call_later(seconds, do)

    async def hop(self, where: str) -> None:
        """A call of the control plane on its way. It may not survive it."""
        await asyncio.sleep(0)
        if self.up and self.draws.fault(f"crash/{where}", self.crash):
            self.counts["crashes"] += 1
            self._crashed.set()
            await asyncio.Event().wait()

    # ── the control plane ────────────────────────────────────────────────────────────────────────────────────────────

    async def run_plane(self) -> NoReturn:
        """Start the control plane again and again."""
        while True:
            self.up, self.up_since = True, self.now
            self._crashed.clear()
            ticking = self.loop.create_task(self._tick())
            crashed = self.loop.create_task(self._crashed.wait())
            await asyncio.wait((ticking, crashed), return_when=asyncio.FIRST_COMPLETED)
            self.up, self.down_since = False, self.now
            for market in self.markets.values():
                market.forget_noticed({row.label for row in self.fleet.living.values()})
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking
            away = (1.0, 60.0, 60.0, 3_000.0)
            await asyncio.sleep(self.draws.choice("plane/away", away))

    async def _tick(self) -> NoReturn:
        autoscaler = Autoscaler(
            self.fleet, {"a": self.pool}, self.markets, url="http://yurt", clock=self._wrong_clock, call_seconds=10
        )
        try:
            while True:
                began = self.now
                await autoscaler.tick(orders=False)
                self.slowest_turn = max(self.slowest_turn, self.now - began)
                self._woken.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._woken.wait()
        finally:
            autoscaler.close()

    async def run_second_leader(self) -> NoReturn:
        """Have a leader go on for a while that has lost the lead and has not noticed, beside the one that has it."""
        while True:
            await asyncio.sleep(60)
            if self.up and self.draws.fault("plane/two", self.two_lead):
                self.counts["two leaders"] += 1
                seconds = self.draws.between("plane/two-seconds", 5, 300)
                self.two_until = self.now + seconds
                both = [self.loop.create_task(work) for work in (self._tick(), self._crashed.wait())]
                await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                self.two_until = self.now
                for task in both:
                    task.cancel()
                await asyncio.gather(*both, return_exceptions=True)

    def _wrong_clock(self) -> float:
        """The control plane's clock, which jumps ahead by an hour now and then. The database's rules."""
        return self.now + self.clock_ahead

    async def run_clock(self) -> NoReturn:
        """Have the control plane's clock jump ahead."""
        while True:
            await asyncio.sleep(60)
            if self.draws.fault("clock", 0.002):
                self.clock_ahead += 3_600
                self.counts["clock jumps"] += 1

    async def run_operator(self) -> NoReturn:
        """Have a person drain or slay a machine now and then, beside the autoscaler."""
        while True:
            await asyncio.sleep(60)
            rows = [row for row in self.fleet.living.values() if row.state is not MachineState.SLAYING]
            if self.up and rows and self.draws.chance("operator", 0.003):
                row = rows[int(self.draws.between("operator/machine", 0, len(rows) - 0.01))]
                self.counts["by an operator"] += 1
                if self.draws.chance("operator/drains", 0.5):
                    await MemoryFleet.drain(self.fleet, row.id, OPERATOR)
                elif await MemoryFleet.slaying(self.fleet, row.id, OPERATOR, row.state):
                    self.invariants.condemned(row)

    def _pause(self) -> float:
        """Look often where something moves, and seldom where nothing can: days are long."""
        rows = self.fleet.living
        mine = [one for market in self.markets.values() for one in market.alive if not one.others]
        if len(mine) != len(rows) or any(row.state is not MachineState.READY for row in rows.values()):
            return 4.0
        return 30.0 if rows or self.fleet.pending["a"] or self.service.waiting else 45.0

    # ── machines ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def boot(self, market: SimulatedMarket, machine: RentedMachine) -> None:
        """Let a machine boot, and its worker work."""
        self.counts["machines"] += 1
        if machine.boots:
            self.spawn(watch(self, market, machine, self._agent(machine)))

    async def _agent(self, machine: RentedMachine) -> None:
        await asyncio.sleep(self.boot_seconds * self.draws.between("boot", 0.5, 1.5))
        answered = idle_since = self.now
        row: MachineRow | None = None
        while machine.ended is None:
            if self.up:
                answered = self.now
                if row is None:
                    if not self.fleet.hello(machine.order.label, machine.order.token):
                        break
                    row = next(r for r in self.fleet.living.values() if r.label == machine.order.label)
                worked = await self._work(row)
                if worked is None:
                    break
                idle_since = self.now if worked or self.service.keeps(row) else idle_since
            if self.now - answered > self.pool.orphan_seconds and self.slaying.orphans_leave:
                break
            if self.now - idle_since > self.pool.worker_idle_seconds:
                break
            await asyncio.sleep(15)

    async def _work(self, row: MachineRow) -> bool | None:
        """Take leases and settle them. None: the worker has to leave."""
        if not await self.fleet.call(row.id):
            return None
        taken = await self.fleet.take(row.id, self.pool.slots)
        if not taken:
            return None if row.state is MachineState.DRAINING and not self.service.serving(row) else False
        for _ in range(math.ceil(self.service_seconds / 15)):
            await asyncio.sleep(min(15.0, self.service_seconds))
            if self.up and not await self.fleet.call(row.id):
                return None
            if self.now - row.heard > self.pool.orphan_seconds and self.slaying.orphans_leave:
                return None
        while not self.up:
            await asyncio.sleep(15)
            if self.now - row.heard > self.pool.orphan_seconds and self.slaying.orphans_leave:
                return None
        if await self.fleet.call(row.id):
            self.counts["objects"] += taken
            await self.fleet.settle(row.id)
        return True

    # ── load ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run_load(self) -> NoReturn:
        """Upload objects."""
        while True:
            await asyncio.sleep(60)
            arrivals = self._arrivals()
            self.fleet.pending["a"] += arrivals
            if arrivals and not self.fleet.living:
                self.wake()

    def wake(self) -> None:
        """Have the control plane look for work at once."""
        self._woken.set()

    def _arrivals(self) -> int:
        """Objects that come within a minute."""
        hour = self.now / 3600 % 24
        if self.load == "sinusoid":
            mean = 3 * (1 + math.sin(hour / 24 * 2 * math.pi))
        elif self.load == "bursts":
            mean = 100 if self.draws.chance("load/burst", 0.005) else 0
        elif self.load == "trickle":
            mean = 0.05
        else:
            mean = 6 if int(hour) % 4 == 0 else 0
        return int(mean + self.draws.unit("load"))

    async def run_wakes(self) -> NoReturn:
        """Have pages opened that may upload soon."""
        while True:
            await asyncio.sleep(60)
            if wish := self.foresight.new_wish(self.now):
                self.counts["wakes"] += 1
                await self.fleet.wake("a", *wish)

    async def run_prices(self) -> NoReturn:
        """Change prices now and then, and note what no ledger can bound."""
        while True:
            await asyncio.sleep(60)
            if self.draws.fault("prices", 0.002):
                for market in self.markets.values():
                    market.reprice()
            for market in self.markets.values():
                for machine in market.alive:
                    self.dearer += self._unbounded(machine) / 60

    def _unbounded(self, machine: RentedMachine) -> Decimal:
        """What a machine costs an hour beyond what the ledger knows: it became dearer, or cannot end itself."""
        if not self.up and (machine.lost_at is not None or not machine.boots):
            return machine.usd_per_hour
        return max(Decimal(0), machine.usd_per_hour - machine.priced[0][1])

    async def run(self, hours: float) -> None:
        """Run the day; ``failure`` says what was violated."""
        planes = (self.run_plane(), self.run_second_leader(), self.run_clock(), self.run_operator())
        for work in (*planes, self.service.run(), self.run_load(), self.run_wakes(), self.run_prices()):
            self.spawn(work)
        end = self.began + hours * 3600
        if self.draws.chance("day/stray", 0.3):
            self.later(self.draws.between("day/stray-at", 0, hours * 3600), self.markets["market"].add_stray)
        if self.draws.chance("day/others", 0.3):
            for name in ("home", "market"):
                self.later(self.draws.between(f"{name}/others-at", 0, hours * 3600), self.markets[name].add_others)
        try:
            while self.now < end and self.failure is None:
                await asyncio.sleep(10)
                if self.now > end - (1 - _FAULTS_END) * hours * 3600:
                    self.draws.faults_over = True
                self.invariants.check()
            self.invariants.check_costs()
        except BrokenInvariant as broken:
            self.fail(broken)
        finally:
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)


def run(seed: int, hours: float = 24.0, *, slaying: SelfSlaying | None = None) -> SimulatedDay:
    """Run one day. Its ``failure`` is None where nothing was violated."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    day = SimulatedDay(seed, loop=loop, slaying=slaying or SelfSlaying())
    logs = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        loop.run_until_complete(day.run(hours))
    finally:
        structlog.configure(**logs)
        loop.close()
        asyncio.set_event_loop(None)
    return day
