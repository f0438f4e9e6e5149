"""A fleet in memory that keeps the same contract as the ledger's: see `fleet_contract`."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

from webhook.ledger.arrivals import ArrivalHistory
from webhook.ledger.costs import FREE, UNLIMITED, reserve_usd
from webhook.ledger.machines import (
    ENDED_NOW,
    SLAYING_SECONDS,
    Budget,
    Cause,
    Demand,
    Intent,
    LastSigns,
    Machine,
    MachineState,
    NotIntended,
    PoolReport,
    ProviderReport,
    SpendingToday,
    Stranger,
    Terms,
    Wish,
    Woken,
    new_label,
)

_DAY_SECONDS = 86_400.0
MONDAY = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass
class MachineRow:
    id: int
    label: str
    pool: str
    provider: str
    token: str
    at: float
    since: float
    heard: float
    worked: float | None = None
    ref: str | None = None
    state: MachineState = MachineState.INTENDED
    leased: int = 0
    reason: str | None = None
    terms: Terms = FREE
    costed: float = 0.0
    cause: Cause = Cause.DEMAND


@dataclass
class MemoryFleet:
    """Both the fleet and the world of its contract."""

    rows: dict[int, MachineRow] = field(default_factory=dict)
    living: dict[int, MachineRow] = field(default_factory=dict)
    """Those of ``rows`` that are not gone: of a simulated day's machines, few are."""
    pending: Counter[str] = field(default_factory=Counter)
    now: float = 1_000.0
    most: int = 0
    """Most machines of one pool that were ever not gone at once."""
    pool_reports: dict[str, PoolReport] = field(default_factory=dict)
    provider_reports: dict[str, ProviderReport] = field(default_factory=dict)
    spent: dict[tuple[int, str], Decimal] = field(default_factory=dict)
    """US dollars, by day and pool."""
    ids: Iterator[int] = field(default_factory=lambda: count(1))
    avoiding: dict[tuple[str, str], float] = field(default_factory=dict)
    """Provider and machine, and until when it is not rented."""
    wishes: dict[tuple[str, int], float] = field(default_factory=dict)
    """Pool and number of machines, and until when they are wished for."""
    histories: dict[str, ArrivalHistory] = field(default_factory=dict)
    """What arrived in earlier weeks, by pool."""
    id: str = "0a1b2c3d"
    """Of the installation."""
    strangers: dict[str, list[Stranger]] = field(default_factory=dict)
    """By provider."""
    strangers_to_slay: set[str] = field(default_factory=set)
    """Labels that an operator wants slain."""

    @property
    def fleet(self) -> MemoryFleet:
        return self

    # the ledger's side

    async def demand(self, pool: str, most: int) -> Demand:
        await asyncio.sleep(0)
        leased = sum(row.leased for row in self.living.values() if row.pool == pool)
        return Demand(min(most, self.pending[pool]), leased)

    async def machines(self) -> Sequence[Machine]:
        await asyncio.sleep(0)
        return [self._machine(row) for row in self.living.values()]

    async def intend(
        self,
        pool: str,
        provider: str,
        limit: int,
        terms: Terms = FREE,
        budget: Budget = UNLIMITED,
        cause: Cause = Cause.DEMAND,
    ) -> Intent | NotIntended:
        await asyncio.sleep(0)
        left = self.spending(pool).left(budget)
        if left is not None and left < reserve_usd(terms):
            return NotIntended.BUDGET
        there = sum(row.pool == pool for row in self.living.values())
        if there >= limit:
            return NotIntended.LIMIT
        self.most = max(self.most, there + 1)
        id, token, label = next(self.ids), secrets.token_urlsafe(24), new_label("yurt", pool, self.id)
        now = self.now
        self.rows[id] = self.living[id] = MachineRow(
            id, label, pool, provider, token, now, now, now, terms=terms, costed=now, cause=cause
        )
        return Intent(id, label, token)

    async def wake(self, pool: str, machines: int, seconds: float) -> Woken:
        await asyncio.sleep(0)
        self.wishes[pool, machines] = max(self.now + seconds, self.wishes.get((pool, machines), 0))
        states = self.states(pool)
        machines = self.wish(pool)
        return Woken(
            machines,
            self.wishes[pool, machines] - self.now,
            states[MachineState.READY],
            states[MachineState.INTENDED] + states[MachineState.BOOTING],
        )

    def wish(self, pool: str) -> int:
        """The greatest wish for a pool."""
        return max((n for (of, n), until in self.wishes.items() if of == pool and until > self.now), default=0)

    @property
    def moment(self) -> datetime:
        """The clock's time: it began on a Monday."""
        return MONDAY + timedelta(seconds=self.now)

    async def wished(self, pool: str) -> Wish:
        await asyncio.sleep(0)
        return Wish(self.wish(pool), self.moment)

    async def arrivals(self, pool: str) -> ArrivalHistory:
        await asyncio.sleep(0)
        return self.histories.get(pool, ArrivalHistory())

    async def installation(self) -> str:
        await asyncio.sleep(0)
        return self.id

    async def note_strangers(self, provider: str, strangers: Sequence[Stranger]) -> frozenset[str]:
        await asyncio.sleep(0)
        self.strangers[provider] = list(strangers)
        self.strangers_to_slay &= {stranger.label for known in self.strangers.values() for stranger in known}
        return frozenset(self.strangers_to_slay & {stranger.label for stranger in strangers})

    async def spending_today(self, pool: str) -> SpendingToday:
        await asyncio.sleep(0)
        return self.spending(pool)

    def spending(self, pool: str) -> SpendingToday:
        alive = self.living.values()
        mine = [self._bound(row) for row in alive if row.pool == pool]
        today = [(pool_of, usd) for (day, pool_of), usd in self.spent.items() if day == self._day]
        return SpendingToday(
            sum((usd for pool_of, usd in today if pool_of == pool), Decimal(0)),
            sum((usd for _, usd in today), Decimal(0)),
            sum(mine, Decimal(0)),
            sum(map(self._bound, alive), Decimal(0)),
        )

    @property
    def _day(self) -> int:
        return int(self.now // _DAY_SECONDS)

    def _bound(self, row: MachineRow) -> Decimal:
        seconds: float = row.terms.reserve_seconds
        if row.state is MachineState.DRAINING:
            seconds = max(seconds - (self.now - row.since), SLAYING_SECONDS)
        if row.state is MachineState.SLAYING:
            seconds = SLAYING_SECONDS
        once = row.terms.usd_once if row.ref is None else Decimal(0)
        uncounted = self.now - max(row.costed, self._day * _DAY_SECONDS)
        return once + row.terms.usd_per_hour * Decimal(seconds + uncounted) / 3600

    def _spend(self, day: int, pool: str, usd: Decimal) -> None:
        self.spent[day, pool] = self.spent.get((day, pool), Decimal(0)) + usd

    def costs(self) -> Decimal:
        """All that was ever spent, and what machines that are not gone have cost since it was added up."""
        uncounted = (
            row.terms.usd_per_hour * Decimal(self.now - row.costed) / 3600
            for row in self.living.values()
            if row.ref is not None
        )
        return sum(self.spent.values(), Decimal(0)) + sum(uncounted, Decimal(0))

    async def accrue(self, ids: Collection[int] | None = None) -> None:
        await asyncio.sleep(0)
        for id in self.living if ids is None else ids:
            if row := self.living.get(id):
                self._accrue(row, self.now)

    def _accrue(self, row: MachineRow, ends: float) -> None:
        if row.ref is not None and row.state is not MachineState.GONE:
            while row.costed < ends:
                day = int(row.costed // _DAY_SECONDS)
                until = min(ends, (day + 1) * _DAY_SECONDS)
                self._spend(day, row.pool, row.terms.usd_per_hour * Decimal(until - row.costed) / 3600)
                row.costed = until

    async def reprice(self, id: int, usd_per_hour: Decimal) -> bool:
        await asyncio.sleep(0)
        row = self.rows[id]
        if row.state is MachineState.GONE or row.terms.usd_per_hour == usd_per_hour:
            return False
        self._accrue(row, self.now)
        row.terms = replace(row.terms, usd_per_hour=usd_per_hour)
        return True

    async def avoid(self, machine: Machine, reason: str, seconds: float) -> None:
        await asyncio.sleep(0)
        self.avoiding[machine.provider, machine.machine] = self.now + seconds

    async def avoided(self, provider: str) -> frozenset[str]:
        await asyncio.sleep(0)
        return frozenset(m for (name, m), until in self.avoiding.items() if name == provider and until > self.now)

    async def minted(self, id: int, ref: str) -> bool:
        await asyncio.sleep(0)
        row = self.rows.get(id)
        if row is None or row.state is MachineState.GONE:
            return False
        if row.ref is None:
            self._spend(self._day, row.pool, row.terms.usd_once)
        row.ref = ref
        self._move(id, {MachineState.INTENDED}, MachineState.BOOTING)
        return True

    async def drain(self, id: int, reason: str) -> bool:
        await asyncio.sleep(0)
        return self._move(id, {MachineState.READY}, MachineState.DRAINING)

    async def slaying(self, id: int, reason: str, seen: MachineState) -> bool:
        await asyncio.sleep(0)
        if seen in (MachineState.SLAYING, MachineState.GONE) or not self._move(id, {seen}, MachineState.SLAYING):
            return False
        row = self.rows[id]
        self.pending[row.pool] += row.leased
        row.leased, row.reason = 0, reason
        return True

    async def gone(self, id: int, signs: LastSigns = ENDED_NOW) -> bool:
        await asyncio.sleep(0)
        if row := self.rows.get(id):
            self._accrue(row, self._ended(row, signs))
        return self._move(id, {MachineState.SLAYING}, MachineState.GONE)

    def _ended(self, row: MachineRow, signs: LastSigns) -> float:
        """When a machine that is gone had ended at the latest."""
        itself = row.heard + signs.orphan_seconds if signs.orphan_seconds is not None else math.inf
        if row.worked is None:
            itself = row.at + signs.boot_seconds if signs.boot_seconds is not None else math.inf
        return min(self.now - signs.unlisted_seconds, itself)

    async def report(self, pools: Mapping[str, PoolReport], providers: Mapping[str, ProviderReport]) -> None:
        await asyncio.sleep(0)
        for name in set(self.pool_reports) - set(pools):
            self.pool_reports[name] = replace(self.pool_reports[name], breaker="closed", frozen=False)
        for name, pool in pools.items():
            earlier = self.pool_reports.get(name, PoolReport())
            self.pool_reports[name] = replace(
                pool,
                failed_starts=earlier.failed_starts + pool.failed_starts,
                last_failure=pool.last_failure or earlier.last_failure,
                last_boot_log=pool.last_boot_log or earlier.last_boot_log,
            )
        for name, provider in providers.items():
            before = self.provider_reports.get(name, ProviderReport())
            self.provider_reports[name] = ProviderReport(
                before.list_failures + provider.list_failures,
                before.unknown_slain + provider.unknown_slain,
                provider.last_error or before.last_error,
            )

    async def reported(self) -> tuple[dict[str, PoolReport], dict[str, ProviderReport]]:
        return dict(self.pool_reports), dict(self.provider_reports)

    def _move(self, id: int, seen: set[MachineState], state: MachineState) -> bool:
        row = self.rows.get(id)
        if row is None or row.state not in seen:
            return False
        row.state, row.since = state, self.now
        if state is MachineState.GONE:
            del self.living[id]
        return True

    def _machine(self, row: MachineRow) -> Machine:
        return Machine(
            id=row.id,
            label=row.label,
            pool=row.pool,
            provider=row.provider,
            ref=row.ref,
            state=row.state,
            age_seconds=self.now - row.at,
            state_seconds=self.now - row.since,
            leased=row.leased,
            idle_seconds=0 if row.worked is None or row.leased else self.now - row.worked,
            silent_seconds=self.now - row.heard,
            reason=row.reason,
            machine=row.terms.machine,
            host=row.terms.host,
            usd_per_hour=row.terms.usd_per_hour,
        )

    # what happens around it

    async def advance(self, seconds: float) -> None:
        self.now += seconds

    async def upload(self, pool: str, count: int) -> None:
        self.pending[pool] += count

    async def call_home(self, intent: Intent) -> bool:
        return self.hello(intent.label, intent.token)

    def hello(self, label: str, token: str) -> bool:
        for row in self.living.values():
            if row.label == label and row.token == token:
                called = self._move(row.id, {MachineState.INTENDED, MachineState.BOOTING}, MachineState.READY)
                if called:
                    row.heard = row.worked = self.now
                return called
        return False

    async def call(self, id: int) -> bool:
        row = self.rows[id]
        if row.state not in (MachineState.READY, MachineState.DRAINING):
            return False
        row.heard = self.now
        return True

    async def slay_stranger(self, label: str) -> bool:
        known = any(stranger.label == label for listed in self.strangers.values() for stranger in listed)
        self.strangers_to_slay |= {label} if known else set()
        return known

    async def take(self, id: int, count: int) -> int:
        row = self.rows[id]
        if not await self.call(id) or row.state is MachineState.DRAINING:
            return 0
        granted = min(count, self.pending[row.pool])
        self.pending[row.pool] -= granted
        row.leased += granted
        return granted

    async def settle(self, id: int) -> None:
        self.rows[id].leased, self.rows[id].worked = 0, self.now

    # for assertions

    def states(self, pool: str = "a") -> Counter[MachineState]:
        return Counter(row.state for row in self.rows.values() if row.pool == pool)

    def alive(self, state: MachineState) -> list[MachineRow]:
        return [row for row in self.rows.values() if row.state is state]
