"""Calls to the ledger and to one provider, each with a deadline. Shared by the loops of a provider and its pools."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from webhook.fleet.fleet import Fleet
from webhook.fleet.providers import Instance, ListsSlowly, MintOrder, Offer, Provider
from webhook.ledger.machines import Intent

ASK_AGAIN_SECONDS = 10.0
"""A provider that agreed to destroy a machine and still lists it is asked again after so long."""

OFFERS_AGAIN_SECONDS = 15.0
"""A provider that made no offer because of an error is asked again after so long."""

T = TypeVar("T")


async def within(call: Awaitable[T], seconds: float) -> T:
    """Give up a call to the ledger or a provider after a while. Raises TimeoutError."""
    async with asyncio.timeout(seconds):  # in this task: wait_for of Python 3.11 begins another one for each call
        return await call


def list_seconds(provider: Provider, call_seconds: float) -> float:
    """Deadline of a provider's list, where its other calls have ``call_seconds``."""
    return max(provider.list_seconds, call_seconds) if isinstance(provider, ListsSlowly) else call_seconds


class ProviderCalls:
    """One provider and the fleet in the ledger. Every call raises TimeoutError past its deadline.

    Args:
        name: The provider's name in the configuration.
        provider: Mints and slays.
        fleet: The ledger's side.
        url: Where machines find the control plane.
        call_seconds: Deadline of one call; minting has its pool's own, a list that is slow its provider's.
        clock: Seconds that only grow.

    """

    def __init__(
        self,
        name: str,
        provider: Provider,
        fleet: Fleet,
        *,
        url: str,
        call_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.fleet = fleet
        self.clock = clock
        self._provider = provider
        self._url = url
        self._call_seconds = call_seconds
        self.list_seconds = list_seconds(provider, call_seconds)
        """Deadline of a list."""
        self._asked_at: dict[str, float] = {}
        """When the provider was last asked to destroy a machine, by label."""
        self._offers: asyncio.Future[dict[Offer, bool]] | None = None
        """What it offered last, or is being asked for, each with whether it may be taken. Shared: a caller that gives
        up does not end the call."""
        self._offers_until = 0.0
        self.contested = False
        """Whether it lists machines of another installation of the same name: nothing is minted there."""

    @property
    def lag_seconds(self) -> float:
        """See ``Provider.lag_seconds``."""
        return self._provider.lag_seconds

    async def within(self, call: Awaitable[T]) -> T:
        """Give up a call to the ledger or the provider after a while."""
        return await within(call, self._call_seconds)

    async def list(self) -> Sequence[Instance]:
        """Everything that the provider lists for this installation. Raises ProviderError."""
        instances = await within(self._provider.list(), self.list_seconds)
        # Forget machines that are no longer listed, so that the memory does not grow.
        listed = {instance.label for instance in instances}
        self._asked_at = {label: at for label, at in self._asked_at.items() if label in listed}
        return instances

    async def offers(self) -> Sequence[Offer]:
        """What the provider would rent out, asked for no more often than its offers stay good. Raises ProviderError."""
        if self._offers is None or (self._offers.done() and self.clock() >= self._offers_until):
            self._offers = asyncio.ensure_future(self._ask_for_offers())
            self._offers.add_done_callback(_retrieve)
        offers = await asyncio.shield(self._offers)
        return tuple(offer for offer, takeable in offers.items() if takeable)

    async def _ask_for_offers(self) -> dict[Offer, bool]:
        self._offers_until = self.clock() + OFFERS_AGAIN_SECONDS
        offers = await self.within(self._provider.offers())
        self._offers_until = self.clock() + self._provider.offer_seconds
        return dict.fromkeys(offers, True)

    def withdraw(self, offer: Offer) -> Callable[[], None]:
        """Do not take an offer again before the provider is asked anew: it was taken, or did not keep its word.

        Returns what puts it back in its place. That does nothing once the provider was asked anew: what it offers now
        may be another order's.
        """
        if not (offer.id and self._offers and self._offers.done() and not self._offers.exception()):
            return lambda: None
        offers = self._offers.result()
        if offer in offers:
            offers[offer] = False
        return lambda: offers.update({offer: True} if offer in offers else {})

    def close(self) -> None:
        """Give up what is being asked for."""
        if self._offers is not None:
            self._offers.cancel()

    async def mint(self, intent: Intent, pool: str, offer: Offer, mint_seconds: float) -> str:
        """Order the intended machine. Returns the provider's name for it. Raises ProviderError."""
        order = MintOrder(intent.label, pool, offer, self._url, intent.token)
        return await within(self._provider.mint(order), mint_seconds)

    async def boot_log(self, label: str) -> str:
        """The end of what a machine printed. Raises ProviderError."""
        return await self.within(self._provider.boot_log(label))

    async def slay(self, instance: Instance) -> bool:
        """Ask the provider to destroy a machine, but not at every turn. Returns whether it was asked.

        Raises ProviderError.
        """
        # Destroying takes a while: a request at each turn would only use up the provider's rate limit.
        asked_at = self._asked_at.get(instance.label)
        if asked_at is not None and self.clock() - asked_at < ASK_AGAIN_SECONDS:
            return False
        await self.within(self._provider.slay(instance))
        self._asked_at[instance.label] = self.clock()
        return True


def _retrieve(done: asyncio.Future[dict[Offer, bool]]) -> None:
    """Mark an error as seen: every caller may have given up before it came."""
    if not done.cancelled():
        done.exception()
