"""One pool's part of the autoscaler: takes the best offers for its work, and lets surplus machines go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import islice

import structlog

from webhook.fleet.activity import PoolActivity, error_fields, logged_failure, machine_fields, reason_of
from webhook.fleet.ahead import Foresight
from webhook.fleet.breaker import BreakerState
from webhook.fleet.fleet import Fleet
from webhook.fleet.market import MOST_TOLD, ProviderOffers, RatedOffer, carried, rated
from webhook.fleet.pool_at_provider import PoolAtProvider
from webhook.fleet.provider_calls import ProviderCalls, within
from webhook.fleet.scaling import SPARE_SECONDS, Drain, Money, scale
from webhook.fleet.strangers import CONTESTED
from webhook.ledger.machines import Budget, Cause, Demand, Machine, NotIntended, Terms
from webhook.pool_settings import Pool

log = structlog.get_logger()

_BUDGET_SPENT = "the budget of the day is spent"
OFFERS_SECONDS = 5.0
"""A provider whose offers take longer delays no other: it is passed over in this turn."""


@dataclass(frozen=True, slots=True)
class ProviderOfPool:
    """One of the providers of a pool."""

    calls: ProviderCalls
    machines: PoolAtProvider


class PoolLoop:
    """One pool and all its providers, in the order in which they are asked."""

    def __init__(
        self,
        name: str,
        settings: Pool,
        fleet: Fleet,
        providers: Sequence[ProviderOfPool],
        activity: PoolActivity,
        *,
        call_seconds: float,
        all_usd_per_day: Decimal | None = None,
        weights_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        """``all_usd_per_day``: what all pools together may spend in one day (UTC); ``weights_bytes``: of its models."""
        self._name = name
        self._settings = settings
        self._fleet = fleet
        self._providers: Mapping[str, ProviderOfPool] = {one.calls.name: one for one in providers}
        self._activity = activity
        self._call_seconds = call_seconds
        self._weights_bytes = weights_bytes
        self._foresight = Foresight(name, settings, fleet, call_seconds)
        self._budget = Budget(settings.budget_usd_per_day, all_usd_per_day)
        self._orders: set[asyncio.Task[None]] = set()
        self.is_empty = True
        """Whether the pool had no machine at the last turn."""

    async def turn(self, machines: Sequence[Machine]) -> None:
        """Compare what there is to do with the pool's machines (all that are not gone), and mint or drain."""
        self.is_empty = not machines
        with logged_failure("turn failed", pool=self._name):
            demand, money, ahead = await asyncio.gather(self._demand(), self._money(), self._foresight.now())
            scaling = scale(self._settings, demand, machines, money, ahead)
            await asyncio.gather(*(self._drain(drain) for drain in scaling.drains))
            why = _BUDGET_SPENT if scaling.at_budget else ""
            if scaling.mint:
                why = await self._mint(scaling.causes, scaling.wanted, demand, money)
            self._note(why)
        self._activity.frozen = bool(self._providers) and all(one.machines.frozen for one in self._providers.values())
        self._activity.breaker = self._breaker()

    def _breaker(self) -> BreakerState:
        """The state of the provider's breaker that lets most through."""
        states = [one.machines.breaker for one in self._providers.values()]
        return min(states, key=("closed", "probing", "open").index, default="closed")

    def _note(self, why: str) -> None:
        """Remember, and log once, why nothing is minted though machines are wanted."""
        if why and why != self._activity.not_minted:
            log.warning("nothing minted", pool=self._name, reason=why)
        self._activity.not_minted = why

    async def _demand(self) -> Demand:
        # More objects than all machines can hold change nothing, so counting ends there.
        objects = self._settings.limit * self._settings.slots
        if objects == 0:
            return Demand(0, 0)
        return await within(self._fleet.demand(self._name, objects), self._call_seconds)

    async def _money(self) -> Money:
        if self._budget == Budget():
            return Money()
        spending = await within(self._fleet.spending_today(self._name), self._call_seconds)
        return Money(spending.left(self._budget))

    async def _drain(self, drain: Drain) -> None:
        machine = drain.machine
        with logged_failure("action failed", pool=self._name, action="drain"):
            if await within(self._fleet.drain(machine.id, drain.reason), self._call_seconds):
                idle_seconds = round(machine.idle_seconds, 3)
                log.info("draining", **machine_fields(machine), reason=drain.reason, idle_seconds=idle_seconds)

    async def ordered(self) -> None:
        """Wait until every provider has answered what it was asked for."""
        await asyncio.gather(*self._orders, return_exceptions=True)

    def close(self) -> None:
        """Give up orders that wait for an answer. What they may have begun shows in a later list."""
        for order in self._orders:
            order.cancel()

    # ── new machines ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _mint(self, causes: Sequence[Cause], wanted: int, demand: Demand, money: Money) -> str:
        """Mint a machine for each reason, of the best offers. Returns why fewer were ordered; empty: none were."""
        sources = await asyncio.gather(*(self._offers(one) for one in self._providers.values()))
        offered = rated(self._settings, sources)
        market = carried(self._settings, offered, money.left, lambda _: _BUDGET_SPENT)
        chosen = [*islice(market.takeable(), len(causes))]
        others = [*islice((one for one in market.offers if one not in chosen), MOST_TOLD)]
        new = zip(chosen, causes, strict=False)
        refused = await asyncio.gather(*(self._mint_one(one, cause, wanted, demand, others) for one, cause in new))
        if NotIntended.BUDGET in refused or (market.none_takeable and not offered.none_takeable):
            return _BUDGET_SPENT
        return market.why_none() if len(chosen) < len(causes) else ""

    async def _offers(self, one: ProviderOfPool) -> ProviderOffers:
        """What a provider offers now; of one that does not answer in time or refuses, nothing."""
        name = one.calls.name
        allowance = one.machines.allowance()
        if allowance <= 0:
            return ProviderOffers(name, (), unavailable=self._why_not_asked(one.machines))
        try:
            offers, avoided = await asyncio.gather(
                within(one.calls.offers(), OFFERS_SECONDS), within(self._fleet.avoided(name), self._call_seconds)
            )
        except Exception as error:
            one.machines.not_offered(error)
            log.warning("no offers", pool=self._name, provider=name, **error_fields(error))
            return ProviderOffers(name, (), unavailable=f"makes no offer: {reason_of(error)}")
        return ProviderOffers(name, offers, allowance, avoided, weights_bytes=self._weights_bytes())

    def _why_not_asked(self, machines: PoolAtProvider) -> str:
        if machines.frozen:
            return "its list of machines fails or cannot be true"
        if machines.contested:
            return CONTESTED
        if machines.breaker != "closed":
            return "machines did not start there"
        return machines.why_paused or "is busy"

    async def _mint_one(
        self, one: RatedOffer, cause: Cause, wanted: int, demand: Demand, others: Sequence[RatedOffer]
    ) -> NotIntended | None:
        settings, offer = self._settings, one.offer
        with logged_failure("minting failed", pool=self._name):
            terms = Terms(
                offer.usd_per_hour, one.usd_once, settings.reserve_seconds, offer.id, offer.machine, offer.host,
                0 if cause is Cause.DEMAND else SPARE_SECONDS,
            )  # fmt: skip
            intending = self._fleet.intend(self._name, one.provider, settings.limit, terms, self._budget, cause)
            intent = await within(intending, self._call_seconds)
            if isinstance(intent, NotIntended):
                if not self._activity.not_minted:  # else it was said, and may be so until midnight
                    log.info("not minted", pool=self._name, reason=str(intent), limit=settings.limit)
                return intent
            log.info(
                "minting", label=intent.label, pool=self._name, provider=one.provider, reason=str(cause), wanted=wanted,
                **asdict(demand), offer=str(one), not_taken=[str(other) for other in others],
            )  # fmt: skip
            # Not waited for: a provider that answers late delays neither the pool's next turn nor another provider.
            order = asyncio.create_task(self._providers[one.provider].machines.order(intent, offer))
            self._orders.add(order)
            order.add_done_callback(self._orders.discard)
        return None
