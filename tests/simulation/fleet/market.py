"""A simulated provider: it loses answers, lags, hangs, lies within what providers do, and keeps its own books."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from webhook.fleet.providers import (
    Instance,
    MintOrder,
    Offer,
    OfferGone,
    ProviderBusy,
    ProviderError,
    ProviderFinding,
)
from webhook.ledger.machines import new_label

if TYPE_CHECKING:
    from tests.simulation.fleet.day import SimulatedDay

DAY_SECONDS = 86_400.0
MACHINES = 8
"""Physical machines that a provider offers."""
_KINDS = ("busy", "gone", "refused", "lost", "hangs", "contract in the error", "late")


@dataclass
class RentedMachine:
    """One machine as it really is."""

    order: MintOrder
    ref: str
    began: float
    usd_per_hour: Decimal
    boots: bool
    """False: it never calls home."""
    self_destroys: bool
    ended: float | None = None
    stray: bool = False
    """The ledger never knew it: it was restored from a backup, say."""
    others: bool = False
    """It is of another installation of the same name."""
    exited: bool = False
    """Its agent has ended; it is there, and is paid for."""
    hangs: bool = False
    """Its agent does nothing any more."""
    lost_at: float | None = None
    """When its agent ended, or began to hang."""
    noticed: float | None = None
    """When a list first lacked it after its end."""
    priced: list[tuple[float, Decimal]] = field(default_factory=list)
    """Since when it costs how much."""

    @property
    def is_intended(self) -> bool:
        """Whether this ledger had it minted."""
        return not self.stray and not self.others


@dataclass
class SimulatedMarket:
    """One provider. ``fault`` is the rate of calls that go wrong in some way."""

    day: SimulatedDay
    name: str
    lag_seconds: float
    fault: float
    capacity: int
    usd_per_hour: Decimal
    bad_machines: int
    """Of its `MACHINES`, so many never boot."""
    offer_seconds: float = 60.0
    machines: dict[str, RentedMachine] = field(default_factory=dict)
    faulty_list_at: float = -1e9
    """When a list last was not the truth."""
    seen: deque[tuple[float, list[Instance]]] = field(default_factory=lambda: deque(maxlen=21))
    _alive: dict[str, RentedMachine] = field(default_factory=dict)
    _unnoticed: list[RentedMachine] = field(default_factory=list)
    """Those that have ended since the last list."""
    _closed: defaultdict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """What those that have ended have cost, by day."""
    _closed_usd_per_hour: Decimal = Decimal(0)

    @property
    def alive(self) -> list[RentedMachine]:
        return list(self._alive.values())

    @property
    def usd_per_hour_of_all(self) -> Decimal:
        """The prices of an hour of all machines that there ever were."""
        return sum((machine.usd_per_hour for machine in self._alive.values()), self._closed_usd_per_hour)

    async def offers(self) -> Sequence[Offer]:
        await self._hop("offers")
        if len(self.alive) >= self.capacity:
            return []
        return [
            Offer(f"{self.name}-{n}-{self.day.now:.0f}", self.usd_per_hour + n * Decimal("0.01"), machine=f"{n}")
            for n in range(MACHINES)
        ]

    async def mint(self, order: MintOrder) -> str:
        self.day.invariants.ordered(self.name, order)
        await self._hop("mint")
        kind = self.day.draws.choice(f"{self.name}/kind", _KINDS) if self._fails("mint") else ""
        if kind == "busy" or len(self.alive) >= self.capacity:
            raise ProviderBusy("no room", retry_seconds=20)
        if kind == "gone":
            raise OfferGone("another customer was faster")
        if kind == "refused":
            raise ProviderError("500")
        if kind == "hangs":
            await asyncio.Event().wait()
        if kind == "late":
            self.day.later(self.day.draws.between(f"{self.name}/late", 0, self.lag_seconds), lambda: self._make(order))
            await asyncio.Event().wait()
        machine = self._make(order)
        await self._hop("minted")
        if kind == "lost":
            await asyncio.Event().wait()
        if kind == "contract in the error":
            raise ProviderError("it failed, and there is a contract")
        return machine.ref

    async def list(self) -> Sequence[Instance]:
        await self._hop("list")
        await asyncio.sleep(0.05)
        now = self.day.now
        shown = [self._shown(machine) for machine in self.alive]
        self.seen.append((now, shown))
        for machine in self._unnoticed:
            machine.noticed = now
        self._unnoticed.clear()
        if self._fails("list"):
            self.faulty_list_at = now
            # A list without a lag is the truth: its provider is the kernel, or one database.
            kinds = ("error", "hangs", "empty") if self.lag_seconds else ("error", "hangs")
            kind = self.day.draws.choice(f"{self.name}/list-kind", kinds)
            if kind == "hangs":
                await asyncio.Event().wait()
            if kind == "error":
                raise ProviderError("502")
            return []
        if self.lag_seconds and self.day.draws.fault(f"{self.name}/stale", 0.2):
            return next(shown for at, shown in self.seen if at >= now - self.lag_seconds)
        return shown

    async def slay(self, instance: Instance) -> None:
        await self._hop("slay")
        self.day.invariants.destroyed(self.name, instance)
        if self._fails("slay"):
            if self.day.draws.chance(f"{self.name}/slay-lies", 0.5):
                return  # it agreed, and does nothing
            raise ProviderError("503")
        seconds = self.day.draws.between(f"{self.name}/slay", 0, 20)
        self.day.later(seconds, lambda: self.end(instance.ref))

    async def boot_log(self, label: str) -> str:
        return ""

    async def check(self) -> Sequence[ProviderFinding]:
        return []

    async def aclose(self) -> None: ...

    def agrees_to_end(self, machine: RentedMachine) -> bool:
        """Have a machine ask for its own end; whether the provider agrees, which is no promise to do it."""
        if self._fails("itself"):
            return self.day.draws.chance(f"{self.name}/itself-lies", 0.5)
        self.day.later(self.day.draws.between(f"{self.name}/itself-slain", 0, 20), lambda: self.end(machine.ref))
        return True

    def end(self, ref: str) -> None:
        """Destroy a machine: from now on it costs nothing."""
        if machine := self._alive.pop(ref, None):
            machine.ended = self.day.now
            self._unnoticed.append(machine)
            self._closed_usd_per_hour += machine.usd_per_hour
            if machine.is_intended:
                for day in range(int(machine.began // DAY_SECONDS), int(machine.ended // DAY_SECONDS) + 1):
                    self._closed[day] += self._charged(machine, day)

    def forget_noticed(self, labels: Collection[str]) -> None:
        """The control plane has crashed: it has not noted the end of those machines that have rows still."""
        for machine in self.machines.values():
            if machine.noticed is not None and machine.order.label in labels:
                machine.noticed = None
                self._unnoticed.append(machine)

    def reprice(self) -> None:
        """Charge somewhat more or less for what is rented."""
        factor = self.day.draws.choice(f"{self.name}/reprice", (Decimal("0.9"), Decimal("1.1")))
        for machine in self.alive:
            machine.usd_per_hour = (machine.usd_per_hour * factor).quantize(Decimal("0.0001"))
            machine.priced.append((self.day.now, machine.usd_per_hour))

    def charged(self, day: int) -> Decimal:
        """The provider's own books: what machines cost on one day."""
        living = (self._charged(machine, day) for machine in self._alive.values() if machine.is_intended)
        return sum(living, self._closed[day])

    def _charged(self, machine: RentedMachine, day: int) -> Decimal:
        total = Decimal(0)
        ends = [at for at, _ in machine.priced[1:]] + [self.day.now if machine.ended is None else machine.ended]
        for (begins, price), end in zip(machine.priced, ends, strict=True):
            seconds = min(end, (day + 1) * DAY_SECONDS) - max(begins, day * DAY_SECONDS)
            total += price * Decimal(max(0.0, seconds)) / 3600
        return total

    def add_stray(self) -> None:
        """Have a machine of this installation that its ledger does not know."""
        # Of the version before: its label holds no id.
        self._add_unordered(
            new_label("yurt", "a", self.day.draws.choice("stray/id", ("", self.day.fleet.id)))
        ).stray = True

    def add_others(self) -> None:
        """Have a machine of another installation of the same name, which ends it itself after a while."""
        machine = self._add_unordered(new_label("yurt", "a", "99999999"))
        machine.others = True
        self.day.later(self.day.draws.between(f"{self.name}/others", 600, 14_400), lambda: self.end(machine.ref))

    @property
    def offers_any(self) -> bool:
        """Whether it offers a machine that is not avoided: agents die at random, also while their machines boot."""
        until = (self.day.fleet.avoiding.get((self.name, f"{n}"), 0.0) for n in range(MACHINES))
        return any(end <= self.day.now for end in until)

    @property
    def contested(self) -> bool:
        """Whether another installation of the same name has a machine there."""
        return any(machine.others for machine in self.alive)

    def _add_unordered(self, label: str) -> RentedMachine:
        order = MintOrder(label, "a", Offer("", self.usd_per_hour, machine="0"), "http://yurt", "forgotten")
        machine = RentedMachine(
            order, f"{self.name}{len(self.machines)}", self.day.now, self.usd_per_hour,
            boots=False, self_destroys=False, priced=[(self.day.now, self.usd_per_hour)],
        )  # fmt: skip
        self.machines[machine.ref] = self._alive[machine.ref] = machine
        return machine

    def _make(self, order: MintOrder) -> RentedMachine:
        ref = f"{self.name}{len(self.machines)}"
        machine = RentedMachine(
            order,
            ref,
            self.day.now,
            order.offer.usd_per_hour,
            boots=int(order.offer.machine) >= self.bad_machines,
            self_destroys=self.day.draws.chance(f"{self.name}/self", 0.8),
        )
        machine.priced.append((self.day.now, machine.usd_per_hour))
        self.machines[ref] = self._alive[ref] = machine
        self.day.boot(self, machine)
        return machine

    def _shown(self, machine: RentedMachine) -> Instance:
        return Instance(machine.order.label, machine.ref, not machine.exited, machine.usd_per_hour)

    def _fails(self, what: str) -> bool:
        return self.day.draws.fault(f"{self.name}/{what}", self.fault)

    async def _hop(self, what: str) -> None:
        await self.day.hop(f"{self.name}/{what}")
