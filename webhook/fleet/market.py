"""Chooses which offer of which provider a pool takes next, and says why the others were not taken. Pure.

Offers are compared at their real price: machine, disk, and what is paid once, spread over the time for which a machine
is expected to live.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from webhook.fleet.providers import Offer
from webhook.ledger.costs import reserve_usd
from webhook.ledger.machines import Terms
from webhook.pool_settings import Pool

MOST_TOLD = 3
"""Offers that a log line names beside the one that was taken."""


@dataclass(frozen=True, slots=True)
class ProviderOffers:
    """What one provider offers a pool now."""

    provider: str
    offers: Sequence[Offer]
    allowance: int = 1_000_000
    """Machines that may be ordered there now."""
    avoided: Collection[str] = ()
    """Names of physical machines that did not boot."""
    unavailable: str = ""
    """Why it is not asked; empty: it is."""
    weights_bytes: int = 0
    """Of the models that a machine of the pool downloads before it works."""


@dataclass(frozen=True, slots=True)
class RatedOffer:
    """An offer with its real price, and why it is not taken."""

    provider: str
    offer: Offer
    usd_once: Decimal
    """What is paid once, the pool's models included."""
    real_usd_per_hour: Decimal
    refused: str = ""
    """Empty: it may be taken."""

    def __str__(self) -> str:
        """Describe it in a few words, for a log line."""
        name = f"{self.provider} {self.offer.id}".strip()
        return f"{name} at {self.real_usd_per_hour:.4f} $/h" + (f": {self.refused}" if self.refused else "")


@dataclass(frozen=True, slots=True)
class RatedOffers:
    """Everything that a pool is offered now, each offer rated once."""

    sources: Sequence[ProviderOffers]
    offers: Sequence[RatedOffer]
    """In the order in which they are to be taken; those that may not be taken last."""

    @property
    def none_takeable(self) -> bool:
        """Whether there is no offer that may be taken."""
        return all(one.refused for one in self.offers)

    def takeable(self) -> Iterator[RatedOffer]:
        """The offers to take, one after the other: each single one once, of each provider as many as are allowed."""
        allowed = {source.provider: source.allowance for source in self.sources}
        waiting = [one for one in self.offers if not one.refused]
        while waiting:
            one = waiting[0]
            if allowed[one.provider] <= 0:
                waiting = [other for other in waiting if other.provider != one.provider]
                continue
            allowed[one.provider] -= 1
            if one.offer.is_single:  # else there are as many as are wanted
                waiting.pop(0)
            yield one

    def why_none(self) -> str:
        """Why the pool can take no (more) offer now, for people. Empty: it can."""
        if not self.none_takeable:
            return "; ".join(f"{s.provider}: {s.unavailable}" for s in self.sources if s.unavailable)
        by_provider = ((source, [o for o in self.offers if o.provider == source.provider]) for source in self.sources)
        return "; ".join(_why(source, offers) for source, offers in by_provider)


def rated(pool: Pool, sources: Sequence[ProviderOffers]) -> RatedOffers:
    """Rate every offer of all providers."""
    found = []
    for source in sources:
        of_source = [_rated(pool, source, offer) for offer in source.offers]
        found += sorted(of_source, key=lambda one: one.real_usd_per_hour if one.offer.by_price else 0)
    if pool.choose == "cheapest":
        found.sort(key=lambda one: one.real_usd_per_hour)
    return RatedOffers(sources, _takeable_first(found))


def needed_usd(pool: Pool, one: RatedOffer) -> Decimal:
    """What a budget has to have left for an offer, in US dollars: the terms are those of a machine that work wants."""
    return reserve_usd(Terms(one.offer.usd_per_hour, one.usd_once, pool.reserve_seconds))


def carried(pool: Pool, market: RatedOffers, left_usd: Decimal | None, why: Callable[[Decimal], str]) -> RatedOffers:
    """The same offers, where those that a budget does not carry are refused: a cheaper one is taken in their place.

    Args:
        pool: Its settings.
        market: What it is offered.
        left_usd: What the budget has left; None: there is none.
        why: Says what is refused, from what the budget would have to have left, in US dollars.

    """
    if left_usd is None:
        return market
    needed = [(one, needed_usd(pool, one)) for one in market.offers]
    found = [one if one.refused or usd <= left_usd else replace(one, refused=why(usd)) for one, usd in needed]
    return RatedOffers(market.sources, _takeable_first(found))


def _takeable_first(offers: Sequence[RatedOffer]) -> Sequence[RatedOffer]:
    return sorted(offers, key=lambda one: one.refused != "")  # stable: the order stays within both


def _why(source: ProviderOffers, found: Sequence[RatedOffer]) -> str:
    if source.unavailable:
        return f"{source.provider}: {source.unavailable}"
    if not found:
        return f"{source.provider}: no room"
    cheapest = min(found, key=lambda one: one.real_usd_per_hour)
    return f"{source.provider}: {cheapest.refused}"


def _rated(pool: Pool, source: ProviderOffers, offer: Offer) -> RatedOffer:
    real = offer.real_usd_per_hour(Decimal(str(pool.life_hours)), source.weights_bytes)
    once = offer.usd_once_with(source.weights_bytes)
    return RatedOffer(source.provider, offer, once, real, _refusal(pool, source, offer, real))


def _refusal(pool: Pool, source: ProviderOffers, offer: Offer, real: Decimal) -> str:
    if pool.max_usd_per_hour is not None and real > pool.max_usd_per_hour:
        return f"dearer than max_usd_per_hour ({pool.max_usd_per_hour})"
    if offer.machine and offer.machine in source.avoided:
        return "did not boot within the last day"
    return source.unavailable
