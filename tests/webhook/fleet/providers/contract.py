"""What every `Provider` must do. Its own tests run `CHECKS` against it, each in a place of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

import pytest

from webhook.fleet.providers import Instance, MintOrder, Offer, Provider, ProviderError
from webhook.ledger.machines import new_label

OWNER = "yurt"
OTHER = "ger"


class MachinePlace(Protocol):
    """Where the provider's machines are, looked at from outside."""

    def provider(self, owner: str = OWNER) -> Provider:
        """A new provider there, as after a restart."""

    async def environment(self, label: str) -> Mapping[str, str]:
        """What the machine's worker was given, once it runs."""

    async def argv(self, label: str) -> Sequence[str]:
        """The worker's command line, once it runs."""

    async def exists(self, label: str) -> bool:
        """Whether there is such a machine, running or not."""

    async def kill(self, instance: Instance) -> None:
        """The machine dies without a word."""


TOKEN = "t0ken-" + "0123456789" * 3


def order(owner: str = OWNER, offer: Offer | None = None) -> MintOrder:
    offer = offer or Offer("", Decimal(0))
    return MintOrder(new_label(owner, "photos", "0a1b2c3d"), "photos", offer, "https://yurt.example.com", TOKEN)


async def order_for(provider: Provider, owner: str = OWNER) -> MintOrder:
    """An order of the provider's first offer."""
    return order(owner, (await provider.offers())[0])


async def mint(provider: Provider, owner: str = OWNER) -> Instance:
    wanted = await order_for(provider, owner)
    return Instance(wanted.label, await provider.mint(wanted))


def labels(instances: Iterable[Instance]) -> set[str]:
    return {instance.label for instance in instances}


async def listed(provider: Provider, wanted: set[str], *, running: bool = False) -> None:
    """Wait until the list shows these labels and no others; where ``running``, those that run."""
    async with asyncio.timeout(20 + 2 * provider.lag_seconds):
        while True:
            shown = [one for one in await provider.list() if one.running or not running]
            if labels(shown) == wanted:
                return
            await asyncio.sleep(0.02)


async def nothing_is_listed_at_first(place: MachinePlace) -> None:
    assert list(await place.provider().list()) == []


async def what_is_minted_is_listed_with_its_ref(place: MachinePlace) -> None:
    provider = place.provider()
    minted = await mint(provider)
    await listed(provider, {minted.label}, running=True)
    assert [(one.label, one.ref) for one in await provider.list()] == [(minted.label, minted.ref)]
    assert minted.ref


async def the_worker_is_told_where_and_with_what_to_call_home(place: MachinePlace) -> None:
    provider = place.provider()
    wanted = await order_for(provider)
    await provider.mint(wanted)
    environment = await place.environment(wanted.label)
    received = (environment["YURT_URL"], environment["YURT_TOKEN"], environment["YURT_LABEL"])
    assert received == (wanted.url, wanted.token, wanted.label)


async def the_token_is_in_no_argument(place: MachinePlace) -> None:
    provider = place.provider()
    wanted = await order_for(provider)
    await provider.mint(wanted)
    assert wanted.token not in " ".join(await place.argv(wanted.label))
    assert wanted.token not in repr(wanted)


async def what_is_slain_is_gone(place: MachinePlace) -> None:
    provider = place.provider()
    one, two = await mint(provider), await mint(provider)
    await provider.slay(one)
    await listed(provider, {two.label})
    assert not await place.exists(one.label)
    assert await place.exists(two.label)


async def slaying_again_or_the_unknown_succeeds(place: MachinePlace) -> None:
    provider = place.provider()
    one = await mint(provider)
    await asyncio.gather(*(provider.slay(one) for _ in range(4)))
    await listed(provider, set())
    await provider.slay(one)
    await provider.slay(Instance(new_label(OWNER, "photos"), "123456789"))
    await provider.slay(Instance("../../etc/passwd", ""))


async def the_list_is_not_from_memory(place: MachinePlace) -> None:
    before, after = place.provider(), place.provider()
    one = await mint(before)
    await listed(after, {one.label})
    await after.slay(one)
    await listed(after, set())
    await listed(before, set())
    assert not await place.exists(one.label)


async def others_machines_are_not_listed(place: MachinePlace) -> None:
    mine, others = place.provider(), place.provider(OTHER)
    one, other = await mint(mine), await mint(others, OTHER)
    await listed(mine, {one.label})
    await listed(others, {other.label})


async def a_machine_of_another_installation_of_the_name_is_listed(place: MachinePlace) -> None:
    mine, others = place.provider(), place.provider()
    one = await mint(mine)
    wanted = replace(await order_for(others), label=new_label(OWNER, "photos", "99999999"))
    await others.mint(wanted)
    await listed(mine, {one.label, wanted.label})


async def a_label_of_another_owner_is_refused(place: MachinePlace) -> None:
    provider = place.provider()
    wanted = await order_for(provider, OTHER)
    with pytest.raises(ProviderError):
        await provider.mint(wanted)
    assert not await place.exists(wanted.label)


async def a_machine_that_died_does_not_run(place: MachinePlace) -> None:
    provider = place.provider()
    one = await mint(provider)
    await listed(provider, {one.label}, running=True)
    await place.kill(one)
    await listed(provider, set(), running=True)
    await provider.slay(one)
    await listed(provider, set())


async def many_are_minted_at_once(place: MachinePlace) -> None:
    provider = place.provider()
    minted = await asyncio.gather(*(mint(provider) for _ in range(4)))
    await listed(provider, labels(minted))
    assert len({instance.ref for instance in minted}) == 4
    await asyncio.gather(*(provider.slay(instance) for instance in minted))
    await listed(provider, set())


async def a_mint_that_was_cancelled_leaves_nothing_unlisted(place: MachinePlace) -> None:
    provider = place.provider()
    wanted = await order_for(provider)
    minting = asyncio.create_task(provider.mint(wanted))
    await asyncio.sleep(0)
    minting.cancel()
    await asyncio.gather(minting, return_exceptions=True)
    await listed(provider, {wanted.label} if await place.exists(wanted.label) else set())


async def what_is_offered_has_a_price(place: MachinePlace) -> None:
    provider = place.provider()
    offers = await provider.offers()
    assert offers
    assert all(offer.usd_per_hour >= 0 and offer.usd_once >= 0 for offer in offers)
    assert provider.offer_seconds > 0


async def a_provider_that_can_be_used_says_so(place: MachinePlace) -> None:
    findings = await place.provider().check()
    assert findings
    assert all(finding.ok and finding.message for finding in findings)


Check = Callable[[MachinePlace], Awaitable[None]]

CHECKS: tuple[Check, ...] = (
    nothing_is_listed_at_first,
    what_is_minted_is_listed_with_its_ref,
    the_worker_is_told_where_and_with_what_to_call_home,
    the_token_is_in_no_argument,
    what_is_slain_is_gone,
    slaying_again_or_the_unknown_succeeds,
    the_list_is_not_from_memory,
    others_machines_are_not_listed,
    a_machine_of_another_installation_of_the_name_is_listed,
    a_label_of_another_owner_is_refused,
    a_machine_that_died_does_not_run,
    many_are_minted_at_once,
    a_mint_that_was_cancelled_leaves_nothing_unlisted,
    what_is_offered_has_a_price,
    a_provider_that_can_be_used_says_so,
)
