"""Calls to the ledger and to one provider, each with a deadline. Shared by the loops of a provider and its pools."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from webhook.fleet.fleet import Fleet
from webhook.fleet.providers import Instance, MintOrder, Offer, Provider
from webhook.ledger.machines import Intent

ASK_AGAIN_SECONDS = 10.0
"""A provider that agreed to destroy a machine and still lists it is asked again after so long."""

T = TypeVar("T")


class ProviderCalls:
    """One provider and the fleet in the ledger. Every call raises TimeoutError past its deadline.

    Args:
        name: The provider's name in the configuration.
        provider: Mints and slays.
        fleet: The ledger's side.
        url: Where machines find the control plane.
        call_seconds: Deadline of one call; minting has its pool's own.
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
        self._asked_at: dict[str, float] = {}
        """When the provider was last asked to destroy a machine, by label."""
        self._offers: list[Offer] = []
        self._offered_at: float | None = None

    @property
    def lag_seconds(self) -> float:
        """See ``Provider.lag_seconds``."""
        return self._provider.lag_seconds

    async def within(self, call: Awaitable[T]) -> T:
        """Give up a call to the ledger or the provider after a while."""
        return await asyncio.wait_for(call, self._call_seconds)

    async def list(self) -> Sequence[Instance]:
        """Everything that the provider lists for this installation. Raises ProviderError."""
        instances = await self.within(self._provider.list())
        # Forget machines that are no longer listed, so that the memory does not grow.
        listed = {instance.label for instance in instances}
        self._asked_at = {label: at for label, at in self._asked_at.items() if label in listed}
        return instances

    async def offers(self) -> Sequence[Offer]:
        """What the provider would rent out, asked for no more often than its offers stay good. Raises ProviderError."""
        if self._offered_at is None or self.clock() - self._offered_at >= self._provider.offer_seconds:
            self._offers = list(await self.within(self._provider.offers()))
            self._offered_at = self.clock()
        return self._offers

    def withdraw(self, offer: Offer) -> None:
        """Do not take an offer again before the provider is asked anew: it was taken, or did not keep its word."""
        if offer.id:
            self._offers = [other for other in self._offers if other.id != offer.id]

    async def mint(self, intent: Intent, pool: str, offer: Offer, mint_seconds: float) -> str:
        """Order the intended machine. Returns the provider's name for it. Raises ProviderError."""
        order = MintOrder(intent.label, pool, offer, self._url, intent.token)
        return await asyncio.wait_for(self._provider.mint(order), mint_seconds)

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
