"""A pool with several providers: each is asked by itself, and no money is spent beyond the budget."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.webhook.fleet.cloud_fleet import URL, Cloud, fails, hangs
from tests.webhook.fleet.fleet_memory import MemoryFleet
from webhook.fleet import pool_loop
from webhook.fleet.activity import PoolActivity
from webhook.fleet.autoscaler import Autoscaler
from webhook.fleet.pool_at_provider import PoolAtProvider
from webhook.fleet.provider_calls import ProviderCalls
from webhook.fleet.providers import NotSent, Offer, OfferGone, ProviderBusy, ProviderRefused
from webhook.fleet.scaling import Listing
from webhook.ledger.machines import MachineState
from webhook.pool_settings import Pool

SETTINGS = {"providers": ["home", "market"], "limit": 9, "slots": 1, "boot_seconds": 300}


class TwoProviders:
    """An autoscaler over two providers. A second of the ledger's clock passes with each turn."""

    def __init__(self, **settings: Any) -> None:
        self.home, self.market = Cloud(), Cloud()
        self.fleet = MemoryFleet()
        self.start(**settings)

    def start(self, *, budget: Decimal | None = None, **settings: Any) -> None:
        self.autoscaler = Autoscaler(
            self.fleet,
            {"a": Pool.model_validate({**SETTINGS, **settings})},
            {"home": self.home, "market": self.market},
            url=URL,
            tick_seconds=0.01,
            clock=lambda: self.fleet.now,
            budget_usd_per_day=budget,
        )

    @property
    def not_minted(self) -> str:
        return self.autoscaler.pools["a"].not_minted

    @property
    def there(self) -> tuple[int, int]:
        return len(self.home.there), len(self.market.there)

    async def turns(self, count: int, seconds: float = 1) -> None:
        for _ in range(count):
            await self.autoscaler.tick()
            await self.fleet.advance(seconds)

    def call_home(self) -> None:
        for row in self.fleet.rows.values():
            self.fleet.hello(row.label, row.token)


def offering(*offers: Offer) -> Any:
    async def offers_now() -> Sequence[Offer]:
        return offers

    return offers_now


async def test_the_next_provider_is_asked_where_one_has_no_room() -> None:
    it = TwoProviders()
    it.home.on_offers = offering()
    await it.fleet.upload("a", 3)
    await it.turns(2)
    assert it.there == (0, 3)


async def test_a_provider_that_hangs_delays_no_other(monkeypatch: Any) -> None:
    monkeypatch.setattr(pool_loop, "OFFERS_SECONDS", 0.05)
    it = TwoProviders()

    async def never() -> Sequence[Offer]:
        await hangs()
        return []

    it.home.on_offers = never
    await it.fleet.upload("a", 3)
    async with asyncio.timeout(10):
        await it.turns(2)
    assert it.there == (0, 3)
    it.autoscaler.close()


async def test_a_provider_that_has_no_room_any_more_is_left_alone_and_the_next_one_asked() -> None:
    it = TwoProviders()
    it.home.on_mint = lambda: fails(ProviderBusy("full", retry_seconds=60))
    await it.fleet.upload("a", 2)
    await it.turns(6)
    assert it.there == (0, 2)
    assert len(it.home.orders) == 2, "once for each machine that was wanted, and not again at each turn"


async def test_a_key_that_is_refused_stops_orders_there_and_nowhere_else() -> None:
    it = TwoProviders()

    async def refuses() -> Sequence[Offer]:
        raise ProviderRefused("the key is not good", hint="set another one")

    it.home.on_offers = refuses
    await it.fleet.upload("a", 2)
    await it.turns(3)
    assert it.there == (0, 2)
    assert "the key is not good" in it.autoscaler.pools["a"].last_failure


async def test_after_a_lost_race_the_next_offer_is_taken_and_nothing_counts_as_failed() -> None:
    it = TwoProviders(providers=["market"])
    first, second = Offer("1", Decimal("0.1")), Offer("2", Decimal("0.2"))
    it.market.on_offers = offering(first, second)

    async def lost() -> None:
        if it.market.orders[-1].offer == first:
            raise OfferGone("another customer was faster")

    it.market.on_mint = lost
    await it.fleet.upload("a", 1)
    await it.turns(3)
    assert [order.offer.id for order in it.market.orders] == ["1", "2"]
    assert it.autoscaler.pools["a"].failed == 0
    assert it.fleet.alive(MachineState.BOOTING)[0].terms.usd_per_hour == Decimal("0.2")


async def test_an_offer_whose_order_was_not_sent_is_taken_in_a_later_turn_and_one_that_was_sent_is_not() -> None:
    offers = [Offer(str(n), Decimal(n) / 10) for n in range(1, 6)]
    for error, taken in ((NotSent, ["1", "2", "3"]), (ProviderBusy, ["1", "4", "5"])):
        it = TwoProviders(providers=["market"], choose="cheapest")
        it.market.on_offers = offering(*offers)
        errors = [error("many wait", retry_seconds=1) for _ in range(2)]

        async def sent_away(it: TwoProviders = it, errors: list[ProviderBusy] = errors) -> None:
            if errors and it.market.orders[-1].offer.id != "1":
                raise errors.pop()

        it.market.on_mint = sent_away
        await it.fleet.upload("a", 3)
        await it.turns(6)
        labels = set(it.market.there)
        assert sorted(order.offer.id for order in it.market.orders if order.label in labels) == taken


async def test_where_a_region_is_full_the_next_one_is_taken() -> None:
    it = TwoProviders(providers=["market"])
    full, free = Offer("ams", Decimal(1), many=True), Offer("fra", Decimal(1), many=True)
    it.market.on_offers = offering(full, free)

    async def no_room() -> None:
        if it.market.orders[-1].offer == full:
            raise OfferGone("no room in ams")

    it.market.on_mint = no_room
    await it.fleet.upload("a", 2)
    await it.turns(3)
    assert len(it.market.there) == 2
    assert [order.offer.id for order in it.market.orders][-2:] == ["fra", "fra"]


async def test_a_machine_that_did_not_boot_is_not_rented_again() -> None:
    it = TwoProviders(providers=["market"], boot_seconds=40, mint_seconds=10, breaker_seconds=1)
    it.market.on_offers = offering(
        Offer("1", Decimal("0.1"), machine="bad"), Offer("2", Decimal("0.2"), machine="good")
    )
    it.market.offer_seconds = 1.0
    await it.fleet.upload("a", 1)
    await it.turns(60)
    assert [order.offer.machine for order in it.market.orders] == ["bad", "good"]


async def test_the_choice_and_what_was_not_taken_are_one_line_of_the_log() -> None:
    it = TwoProviders(choose="cheapest", max_usd_per_hour="0.5")
    it.home.on_offers = offering(Offer("", Decimal("0.3")))
    it.market.on_offers = offering(Offer("1", Decimal("0.2")), Offer("2", Decimal("0.7")))
    await it.fleet.upload("a", 1)
    with capture_logs() as logs:
        await it.turns(1)
    [line] = [log for log in logs if log["event"] == "minting"]
    assert line["offer"] == "market 1 at 0.2000 $/h"
    assert line["not_taken"] == ["home at 0.3000 $/h", "market 2 at 0.7000 $/h: dearer than max_usd_per_hour (0.5)"]


async def test_why_nothing_is_minted_is_said_once_and_shown() -> None:
    it = TwoProviders(max_usd_per_hour="0.1")
    it.home.on_offers = offering(Offer("", Decimal("0.3")))
    it.market.on_offers = offering()
    await it.fleet.upload("a", 1)
    with capture_logs() as logs:
        await it.turns(5)
    assert it.not_minted == "home: dearer than max_usd_per_hour (0.1); market: no room"
    assert [log["event"] for log in logs].count("nothing minted") == 1
    it.start()
    await it.turns(1)
    assert not it.not_minted


async def test_why_a_provider_is_left_alone_is_shown_for_as_long_as_it_is() -> None:
    it = TwoProviders(providers=["market"])
    seconds = 7200.0

    async def used_up() -> Sequence[Offer]:
        raise ProviderBusy("the day's searches are used up", retry_seconds=seconds)

    it.market.on_offers = used_up
    await it.fleet.upload("a", 1)
    await it.turns(3)
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    assert re.fullmatch("market: the day's searches are used up; asked again at ([0-9:]{5}) UTC", it.not_minted)
    assert it.not_minted[-9:-4] in {f"{at - timedelta(seconds=late):%H:%M}" for late in (0, 60)}
    it.market.on_offers = None
    await it.fleet.advance(seconds)
    await it.turns(1)
    assert (it.not_minted, len(it.market.there)) == ("", 1)


async def test_a_short_pause_is_told_without_a_time_that_would_be_news_at_each_turn() -> None:
    it = TwoProviders(providers=["market"])
    it.market.on_mint = lambda: fails(ProviderBusy("no node has room", retry_seconds=30))
    await it.fleet.upload("a", 1)
    await it.turns(2)
    assert it.not_minted == "market: no node has room; asked again soon"


@pytest.mark.parametrize(("list_seconds", "believed_seconds"), [(30.0, 60), (200.0, 400)])
async def test_machines_are_ordered_for_as_long_as_the_last_list_is_believed(
    list_seconds: float, believed_seconds: float
) -> None:
    fleet, cloud = MemoryFleet(), SlowCloud()
    cloud.list_seconds = list_seconds
    calls = ProviderCalls("market", cloud, fleet, url=URL, call_seconds=30, clock=lambda: fleet.now)
    machines = PoolAtProvider("a", Pool.model_validate(SETTINGS), calls, PoolActivity())
    assert not machines.allowance()
    await machines.look_after([], Listing({}, 0, 0, 0))
    await fleet.advance(believed_seconds)
    assert machines.allowance()
    await fleet.advance(1)
    assert not machines.allowance()


class SlowCloud(Cloud):
    list_seconds: float


async def test_the_pool_moves_to_another_provider_with_one_line() -> None:
    it = TwoProviders(providers=["home"])
    await it.fleet.upload("a", 2)
    await it.turns(1)
    it.call_home()
    for row in it.fleet.alive(MachineState.READY):
        await it.fleet.take(row.id, 1)
    it.start(providers=["market"])
    await it.turns(2)
    assert it.there == (2, 2)
    assert len(it.fleet.alive(MachineState.DRAINING)) == 2, "what they do is finished"
    for row in it.fleet.alive(MachineState.DRAINING):
        await it.fleet.settle(row.id)
    await it.turns(2)
    assert it.there == (0, 2)


HOURLY = Offer("", Decimal("3.6"))
"""A tenth of a cent a second."""


async def test_no_more_machines_than_the_budget_carries() -> None:
    it = TwoProviders(providers=["home"], budget_usd_per_day="4", drain_seconds=900, orphan_seconds=600)
    it.home.on_offers = offering(HOURLY)
    await it.fleet.upload("a", 9)
    await it.turns(3)
    assert len(it.home.there) == 3, "each may cost 1.2 $ until it is gone"
    assert it.not_minted == "the budget of the day is spent"


async def test_a_cheaper_offer_is_taken_where_the_budget_does_not_carry_the_first() -> None:
    it = TwoProviders(providers=["home", "market"], budget_usd_per_day="2", drain_seconds=900, orphan_seconds=600)
    it.home.on_offers = offering(HOURLY)
    it.market.on_offers = offering(Offer("", Decimal("0.36")))
    await it.fleet.upload("a", 9)
    await it.turns(3)
    assert it.there == (1, 6), "the one may cost 1.2 $ until it is gone, and each of the others 0.12 $"
    assert it.not_minted == "the budget of the day is spent"


async def test_the_budget_is_never_exceeded_and_machines_leave_in_time() -> None:
    it = TwoProviders(providers=["home"], budget=Decimal(4), limit=2)
    it.home.on_offers = offering(HOURLY)
    await it.fleet.upload("a", 1_000)
    spent = Decimal(0)
    for _ in range(400):
        await it.autoscaler.tick()
        spent += len(it.home.there) * Decimal("0.01")
        await it.fleet.advance(10)
        for row in it.fleet.rows.values():
            if row.state in (MachineState.READY, MachineState.DRAINING):
                await it.fleet.call(row.id)
        it.call_home()
        for row in it.fleet.alive(MachineState.READY):
            await it.fleet.take(row.id, 1 - row.leased)
        for row in it.fleet.alive(MachineState.DRAINING):
            await it.fleet.settle(row.id)
    assert not it.home.there
    assert Decimal("1.5") < spent <= 4, "used, and not exceeded"
