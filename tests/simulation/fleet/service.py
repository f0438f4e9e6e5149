"""A service of a simulated day: its requests wait for a machine, are under way there, and end or are lost.

Machines are given to it as the ledger does (statements ``give_machines``, ``service_demand`` and ``machines``).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from tests.webhook.fleet.fleet_memory import MachineRow
from webhook.ledger.machines import MachineState

if TYPE_CHECKING:
    from tests.simulation.fleet.day import SimulatedDay

_STEP_SECONDS = 10.0
_WAIT_SECONDS = 900.0
"""A request that has waited for so long is told that there is no machine."""


@dataclass
class DaysService:
    """What the service of one day has to do, and which machines it has. Many days have none."""

    day: SimulatedDay
    exists: bool = False
    concurrency: int = 1
    idle_seconds: float = 300.0
    request_seconds: float = 0.0
    waiting: deque[float] = field(default_factory=deque)
    """Since when each request waits."""
    under_way: dict[int, list[float]] = field(default_factory=dict)
    """By the machines that the service has: when each request there will end."""

    def __post_init__(self) -> None:
        draws = self.day.draws
        self.exists = draws.choice("service/exists", (False, False, True))
        self.concurrency = draws.choice("service/concurrency", (1, 4))
        self.idle_seconds = draws.choice("service/idle", (60.0, 300.0, 1_200.0))
        self.request_seconds = draws.choice("service/request", (5.0, 60.0, 600.0))

    def serving(self, row: MachineRow) -> int:
        """Requests that a machine works on."""
        return len(self.under_way.get(row.id, ()))

    def keeps(self, row: MachineRow) -> bool:
        """Whether a machine serves, or has served so lately that it is kept."""
        if row.id not in self.under_way:
            return False
        return bool(self.serving(row)) or self.day.now - (row.worked or 0) < self.idle_seconds

    def needed(self) -> int:
        """Machines for requests that wait or are under way on machines that stay, and those that are kept."""
        if not self.exists:
            return 0
        mine = self._machines()
        requests = len(self.waiting) + sum(map(self.serving, mine))
        return max(math.ceil(requests / self.concurrency), sum(map(self.keeps, mine)))

    async def run(self) -> NoReturn:
        """Have requests come, be served, and end."""
        if not self.exists:
            await asyncio.Event().wait()
        minute = 0.0
        while True:
            quiet = not self.waiting and not any(self.under_way.values())
            await asyncio.sleep(60 if quiet else _STEP_SECONDS)
            self._ended()
            if not self.day.up:
                self.waiting.clear()  # their connections broke
                continue
            if self.day.now - minute >= 60:
                minute = self.day.now
                self._arrive()
            self._give()

    def _arrive(self) -> None:
        mean = 6 if self.day.draws.chance("service/burst", 0.01) else 0.03
        requests = int(mean + self.day.draws.unit("service/load"))
        self.waiting.extend([self.day.now] * requests)
        self.day.counts["requests"] += requests
        if requests and not self.day.fleet.living:
            self.day.wake()

    def _ended(self) -> None:
        """End requests that are over, that lost machine or control plane, or that have waited too long."""
        day = self.day
        lost = {one.order.label for market in day.markets.values() for one in market.alive if one.lost_at is not None}
        for id, ends in [*self.under_way.items()]:
            row = day.fleet.living.get(id)
            if row is None or row.state is MachineState.SLAYING:
                del self.under_way[id]
                day.counts["requests lost"] += len(ends)
                continue
            cut = row.label in lost or not day.up
            left = [] if cut else [end for end in ends if end > day.now]
            day.counts["requests lost" if cut else "requests served"] += len(ends) - len(left)
            if len(left) < len(ends):
                row.worked = day.now
            self.under_way[id] = left
        while self.waiting and day.now - self.waiting[0] > _WAIT_SECONDS:
            self.waiting.popleft()
            day.counts["requests refused"] += 1

    def _give(self) -> None:
        """Take ready machines for the requests that need more, and send requests to the least loaded ones."""
        mine = self._machines()
        free = [row for row in self._ready() if row.id not in self.under_way]
        requests = len(self.waiting) + sum(map(self.serving, mine))
        for row in free[: max(0, math.ceil(requests / self.concurrency) - len(mine))]:
            self.under_way[row.id] = []
            row.worked = self.day.now
            mine.append(row)
        while self.waiting and mine:
            row = min(mine, key=self.serving)
            if self.serving(row) >= self.concurrency:
                return
            self.waiting.popleft()
            seconds = self.day.draws.between("service/lasts", 0.2, 2) * self.request_seconds
            self.under_way[row.id].append(self.day.now + seconds)

    def _machines(self) -> list[MachineRow]:
        """Those that the service has and that stay."""
        return [row for row in self._ready() if row.id in self.under_way]

    def _ready(self) -> list[MachineRow]:
        return [row for row in self.day.fleet.living.values() if row.state is MachineState.READY]
