"""A fleet in memory that keeps the same contract as the ledger's: see `fleet_contract`."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from workers.fleet import Demand, Intent, Machine, State, new_label


@dataclass
class Row:
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
    state: State = State.INTENDED
    leased: int = 0
    reason: str | None = None


@dataclass
class MemoryFleet:
    """Both the fleet and the world of its contract."""

    rows: dict[int, Row] = field(default_factory=dict)
    pending: Counter[str] = field(default_factory=Counter)
    now: float = 1_000.0
    most: int = 0
    """Most machines of one pool that were ever not gone at once."""

    @property
    def fleet(self) -> MemoryFleet:
        return self

    # the ledger's side

    async def demand(self, pool: str, most: int) -> Demand:
        await asyncio.sleep(0)
        leased = sum(row.leased for row in self.rows.values() if row.pool == pool)
        return Demand(min(most, self.pending[pool]), leased)

    async def machines(self) -> Sequence[Machine]:
        await asyncio.sleep(0)
        return [self._machine(row) for row in self.rows.values() if row.state is not State.GONE]

    async def intend(self, pool: str, provider: str, limit: int) -> Intent | None:
        await asyncio.sleep(0)
        count = sum(row.pool == pool and row.state is not State.GONE for row in self.rows.values())
        if count >= limit:
            return None
        self.most = max(self.most, count + 1)
        id, token, label = len(self.rows) + 1, secrets.token_urlsafe(24), new_label("yurt", pool)
        self.rows[id] = Row(id, label, pool, provider, token, self.now, self.now, self.now)
        return Intent(id, label, token)

    async def minted(self, id: int, ref: str) -> bool:
        await asyncio.sleep(0)
        row = self.rows.get(id)
        if row is None or row.state is State.GONE:
            return False
        row.ref = ref
        self._move(id, {State.INTENDED}, State.BOOTING)
        return True

    async def drain(self, id: int) -> bool:
        await asyncio.sleep(0)
        return self._move(id, {State.READY}, State.DRAINING)

    async def slaying(self, id: int, reason: str, seen: State) -> bool:
        await asyncio.sleep(0)
        if seen in (State.SLAYING, State.GONE) or not self._move(id, {seen}, State.SLAYING):
            return False
        row = self.rows[id]
        self.pending[row.pool] += row.leased
        row.leased, row.reason = 0, reason
        return True

    async def gone(self, id: int) -> bool:
        await asyncio.sleep(0)
        return self._move(id, {State.SLAYING}, State.GONE)

    def _move(self, id: int, seen: set[State], state: State) -> bool:
        row = self.rows.get(id)
        if row is None or row.state not in seen:
            return False
        row.state, row.since = state, self.now
        return True

    def _machine(self, row: Row) -> Machine:
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
        )

    # what happens around it

    async def advance(self, seconds: float) -> None:
        self.now += seconds

    async def upload(self, pool: str, count: int) -> None:
        self.pending[pool] += count

    async def call_home(self, intent: Intent) -> bool:
        return self.hello(intent.label, intent.token)

    def hello(self, label: str, token: str) -> bool:
        for row in self.rows.values():
            if row.label == label and row.token == token:
                called = self._move(row.id, {State.INTENDED, State.BOOTING}, State.READY)
                if called:
                    row.heard = row.worked = self.now
                return called
        return False

    async def call(self, id: int) -> bool:
        row = self.rows[id]
        if row.state not in (State.READY, State.DRAINING):
            return False
        row.heard = self.now
        return True

    async def take(self, id: int, count: int) -> int:
        row = self.rows[id]
        if not await self.call(id) or row.state is State.DRAINING:
            return 0
        granted = min(count, self.pending[row.pool])
        self.pending[row.pool] -= granted
        row.leased += granted
        return granted

    async def settle(self, id: int) -> None:
        self.rows[id].leased, self.rows[id].worked = 0, self.now

    # for assertions

    def states(self, pool: str = "a") -> Counter[State]:
        return Counter(row.state for row in self.rows.values() if row.pool == pool)

    def alive(self, state: State) -> list[Row]:
        return [row for row in self.rows.values() if row.state is state]
