"""Calls to a provider end in time, and a machine is not asked to be destroyed at every turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from tests.simulation.loop import VirtualLoop
from tests.webhook.fleet.fleet_memory import MemoryFleet
from webhook.fleet.provider_calls import ASK_AGAIN_SECONDS, ProviderCalls
from webhook.fleet.providers import Instance, MintOrder, Offer, ProviderFinding
from webhook.ledger.machines import Intent

ONE = Instance("yurt-a-1", "ref-1")
OFFER, OTHER_OFFER = Offer("7", Decimal("0.2")), Offer("8", Decimal("0.3"))


@dataclass
class RecordingProvider:
    """Notes what it is asked for. ``hangs``: it never answers."""

    listed: list[Instance] = field(default_factory=list)
    slain: list[Instance] = field(default_factory=list)
    orders: list[MintOrder] = field(default_factory=list)
    hangs: bool = False
    lag_seconds: float = 3.0
    offer_seconds: float = 60.0
    asked_for_offers: int = 0

    async def offers(self) -> Sequence[Offer]:
        await self._answer()
        self.asked_for_offers += 1
        return [OFFER, OTHER_OFFER]

    async def check(self) -> Sequence[ProviderFinding]:
        return []

    async def mint(self, order: MintOrder) -> str:
        await self._answer()
        self.orders.append(order)
        return "ref"

    async def slay(self, instance: Instance) -> None:
        await self._answer()
        self.slain.append(instance)

    async def list(self) -> Sequence[Instance]:
        await self._answer()
        return self.listed

    async def boot_log(self, label: str) -> str:
        return f"/logs/{label}.log\nno route to host"

    async def aclose(self) -> None:
        pass

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.get_running_loop().create_future()


def calls(provider: RecordingProvider, fleet: MemoryFleet) -> ProviderCalls:
    return ProviderCalls("p", provider, fleet, url="http://here", call_seconds=0.01, clock=lambda: fleet.now)


async def test_a_machine_is_asked_to_be_destroyed_again_only_after_a_while() -> None:
    provider, fleet = RecordingProvider([ONE]), MemoryFleet()
    it = calls(provider, fleet)
    assert [await it.slay(ONE), await it.slay(ONE)] == [True, False]
    await fleet.advance(ASK_AGAIN_SECONDS)
    assert await it.slay(ONE)
    assert provider.slain == [ONE, ONE]


async def test_a_machine_that_is_listed_no_more_is_forgotten() -> None:
    provider, fleet = RecordingProvider([ONE]), MemoryFleet()
    it = calls(provider, fleet)
    assert await it.slay(ONE)
    assert list(await it.list()) == [ONE]
    assert not await it.slay(ONE)
    provider.listed = []
    assert list(await it.list()) == []
    assert await it.slay(ONE), "the same label again: the provider shows it anew"


async def test_an_order_carries_label_token_and_url() -> None:
    provider = RecordingProvider()
    assert await calls(provider, MemoryFleet()).mint(Intent(1, "yurt-a-1", "once"), "a", OFFER, 1.0) == "ref"
    assert provider.orders == [MintOrder("yurt-a-1", "a", OFFER, "http://here", "once")]


async def test_offers_are_asked_for_again_once_they_are_old() -> None:
    provider, fleet = RecordingProvider(), MemoryFleet()
    it = calls(provider, fleet)
    assert list(await it.offers()) == list(await it.offers()) == [OFFER, OTHER_OFFER]
    assert provider.asked_for_offers == 1
    await fleet.advance(provider.offer_seconds)
    await it.offers()
    assert provider.asked_for_offers == 2


async def test_an_offer_that_was_taken_is_not_shown_again_before_the_next_answer() -> None:
    provider, fleet = RecordingProvider(), MemoryFleet()
    it = calls(provider, fleet)
    await it.offers()
    it.withdraw(OFFER)
    assert list(await it.offers()) == [OTHER_OFFER]
    await fleet.advance(provider.offer_seconds)
    assert list(await it.offers()) == [OFFER, OTHER_OFFER]


async def test_an_offer_that_is_put_back_is_in_its_place_again() -> None:
    provider, fleet = RecordingProvider(), MemoryFleet()
    it = calls(provider, fleet)
    await it.offers()
    put_back = it.withdraw(OFFER)
    put_back()
    assert list(await it.offers()) == [OFFER, OTHER_OFFER]


async def test_an_offer_of_an_earlier_answer_is_not_put_back_among_those_of_the_next() -> None:
    provider, fleet = RecordingProvider(), MemoryFleet()
    it = calls(provider, fleet)
    await it.offers()
    put_back = it.withdraw(OFFER)
    await fleet.advance(provider.offer_seconds)
    await it.offers()
    it.withdraw(OFFER)  # by another order
    put_back()
    assert list(await it.offers()) == [OTHER_OFFER]


@dataclass
class PagedProvider(RecordingProvider):
    """Its list takes 100 s, which it says."""

    list_seconds: float = 200.0

    async def list(self) -> Sequence[Instance]:
        await asyncio.sleep(100)
        return [ONE]


def test_a_list_of_many_pages_has_the_time_that_its_provider_says() -> None:
    loop, provider = VirtualLoop(), PagedProvider()

    async def listed() -> Sequence[Instance]:
        return await ProviderCalls(
            "p", provider, MemoryFleet(), url="http://here", call_seconds=30, clock=loop.time
        ).list()

    assert loop.run_until_complete(listed()) == [ONE]
    provider.list_seconds = 99.0
    with pytest.raises(TimeoutError):
        loop.run_until_complete(listed())
    loop.close()


async def test_a_provider_that_hangs_is_given_up() -> None:
    it = calls(RecordingProvider(hangs=True), MemoryFleet())
    with pytest.raises(TimeoutError):
        await it.list()
    with pytest.raises(TimeoutError):
        await it.slay(ONE)
    with pytest.raises(TimeoutError):
        await it.mint(Intent(1, "yurt-a-1", "once"), "a", OFFER, 0.01)
