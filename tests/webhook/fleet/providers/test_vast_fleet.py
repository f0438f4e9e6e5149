"""The autoscaler over the vast provider and the pretend market, whose books and the ledger go by one clock.

What goes wrong there is in ``test_bad_days``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from structlog.testing import capture_logs

from infra.market.limits import RateLimits
from infra.market.market import Market
from tests.webhook.fleet.fleet_memory import MemoryFleet
from tests.webhook.fleet.providers.vast_market import VastPlace, some_offers, vast_place
from webhook.fleet.autoscaler import Autoscaler
from webhook.fleet.providers.vast_api import VastPace
from webhook.ledger.machines import MachineState
from webhook.pool_settings import Pool

LIMIT = 4
TRAFFIC_USD = Decimal("0.04")


@dataclass
class MarketFleet:
    """An autoscaler whose machines are rented on the market. Its clock goes on between two turns."""

    place: VastPlace
    pool: Pool
    fleet: MemoryFleet = field(default_factory=MemoryFleet)

    def __post_init__(self) -> None:
        # A turn takes no time by this clock, so calls cannot be kept apart by it.
        limits = RateLimits(0)
        self.place.cloud.market = Market(some_offers(60), limits=limits, clock=lambda: self.fleet.now)
        self.place.pace = VastPace(0.001)
        self.autoscaler = Autoscaler(
            self.fleet, {"a": self.pool}, {"vast": self.place.provider()}, url="https://yurt.example.com",
            clock=lambda: self.fleet.now,
        )  # fmt: skip

    @property
    def market(self) -> Market:
        return self.place.market

    async def turns(self, count: int, seconds: float) -> None:
        """So many turns, so far apart. Machines that run call home in each."""
        for _ in range(count):
            await self.autoscaler.tick()
            await self.fleet.advance(seconds)
            for row in list(self.fleet.rows.values()):
                contract = next((one for one in self.market.living() if one.label == row.label), None)
                if contract and contract.state(self.fleet.now) == "running":
                    await self._work(row.id)

    async def _work(self, id: int) -> None:
        row = self.fleet.rows[id]
        self.fleet.hello(row.label, row.token)
        await self.fleet.call(id)
        await (self.fleet.settle(id) if row.leased else self.fleet.take(id, 1))

    @property
    def hourly_usd(self) -> Decimal:
        """What the ledger has counted by the hour."""
        once = sum((row.terms.usd_once for row in self.fleet.rows.values() if row.ref), Decimal(0))
        return sum(self.fleet.spent.values(), Decimal(0)) - once

    @property
    def books_usd(self) -> Decimal:
        """What the market charges by the hour."""
        return sum((entry.hourly_usd for entry in self.market.books()), Decimal(0))


@asynccontextmanager
async def market_fleet(**settings: Any) -> AsyncIterator[MarketFleet]:
    given = {"provider": "vast", "limit": LIMIT, "slots": 1, "idle_seconds": 60, "boot_seconds": 120}
    async with vast_place() as place:
        with capture_logs():
            yield MarketFleet(place, Pool.model_validate({**given, **settings}))


async def test_what_is_counted_is_what_the_market_charges() -> None:
    async with market_fleet(idle_seconds=300) as it:
        await it.fleet.upload("a", 3)
        await it.turns(5, 1)
        for _ in range(60):  # four hours of work
            await it.fleet.upload("a", 3)
            await it.turns(4, 60)
        for contract in it.market.living():
            contract.reprice(contract.usd_per_hour * 2, it.market.clock())
        await it.turns(60, 5)
        assert it.market.living() == []
        assert set(it.fleet.states()) == {MachineState.GONE}
        ratio = it.hourly_usd / it.books_usd
        assert 1 <= ratio < Decimal("1.01"), "counted is from the intent until the list surely lacks it"
        noted = [row for row in it.fleet.rows.values() if row.ref]
        assert len(noted) == len(it.market.books()) >= 3
        assert {row.terms.usd_once for row in noted} == {TRAFFIC_USD}
