"""Tells whether a pool would rent a machine now: which offer it would take, and what forbids it. Writes nothing.

What is decided here is what the autoscaler decides, by the same functions: the order of offers and what is avoided by
`webhook.fleet.market`, the limit and the end of the budget by `webhook.fleet.scaling`, what a budget has to have left
for a machine by `webhook.ledger.costs`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from webhook.fleet.market import ProviderOffers, RatedOffers, carried, rated
from webhook.fleet.scaling import Money, scale
from webhook.ledger.database import Database, LedgerUnavailable, LedgerUnusable
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import Ledger
from webhook.ledger.machines import Budget, Demand, Machine, SpendingToday
from webhook.pool_settings import Pool

_SHOWN = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class PoolStanding:
    """What the ledger knows that decides whether a pool rents a machine now."""

    machines: Sequence[Machine] = ()
    """The pool's that are not gone, at all providers."""
    spending: SpendingToday | None = None
    avoided: Mapping[str, Collection[str]] = field(default_factory=dict)
    """By provider, names of physical machines that did not boot."""
    not_known: str = ""
    """Why nothing of this is known; empty: it is."""


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """What the tighter of a pool's two budgets has left today (UTC)."""

    name: str
    """Which one, for people."""
    usd: Decimal
    """Once all that machines can still cost is taken off. Below 0: too much is bound."""


@dataclass(frozen=True, slots=True)
class RentalOutlook:
    """What a pool would rent now."""

    standing: PoolStanding
    market: RatedOffers
    """All offers in the order in which they would be taken; with why one would not, the budget included."""
    pool_left_usd: Decimal | None
    """Of the pool's budget of the day; None: it has none, or it is not known."""
    all_left_usd: Decimal | None
    """The same of the budget of all pools."""
    why_none: str
    """Why nothing would be rented now; empty: the first offer would be."""


async def pool_standing(dsn: str, pool: str, providers: Sequence[str]) -> PoolStanding:
    """Read what a ledger knows of a pool. Raises nothing: where it cannot be read, that is what is told.

    ``dsn``: empty where none is configured.
    """
    if not dsn:
        return PoolStanding(not_known="DATABASE_URL is not set")
    try:
        database = await Database.connect(dsn, connections=1, pooled=True)
        try:
            return await _read(Ledger(database, {}), pool, providers)
        finally:
            await database.aclose()
    except (LedgerUnavailable, LedgerUnusable) as error:
        return PoolStanding(not_known=str(error))


async def _read(ledger: Ledger, pool: str, providers: Sequence[str]) -> PoolStanding:
    fleet = LedgerFleet(ledger, owner="", pipelines=lambda _: (), slots={}, limits={})  # which rents nothing
    return PoolStanding(
        machines=[machine for machine in await fleet.machines() if machine.pool == pool],
        spending=await fleet.spending_today(pool),
        avoided={name: await fleet.avoided(name) for name in providers},
    )


def rental_outlook(
    settings: Pool, all_usd: Decimal | None, standing: PoolStanding, sources: Sequence[ProviderOffers]
) -> RentalOutlook:
    """What a pool would rent now of what its providers offer.

    ``all_usd``: what all pools together may spend in one day; None: there is no limit.
    """
    sources = [replace(source, avoided=standing.avoided.get(source.provider, ())) for source in sources]
    market, spending = rated(settings, sources), standing.spending
    pool_left = spending.left(Budget(pool_usd=settings.budget_usd_per_day)) if spending else None
    all_left = spending.left(Budget(all_usd=all_usd)) if spending else None
    tightest = _tightest(pool_left, all_left)
    left = tightest.usd if tightest else None
    judged = carried(settings, market, left, lambda needed: _not_carried(tightest, needed))
    why = _why_no_machine(settings, standing, tightest) or _why_no_offer(market, judged)
    return RentalOutlook(standing, judged, pool_left, all_left, why)


def _tightest(pool_left: Decimal | None, all_left: Decimal | None) -> BudgetLeft | None:
    named = (("the pool's budget of the day", pool_left), ("the budget of the day of all pools", all_left))
    budgets = [BudgetLeft(name, usd) for name, usd in named if usd is not None]
    return min(budgets, key=lambda budget: budget.usd, default=None)


def _not_carried(budget: BudgetLeft | None, needed: Decimal) -> str:
    assert budget, "there is none to be too small"
    left = f"it has {_shown(budget.usd)} $ left, and would need {_shown(needed)} $"
    return f"{budget.name} does not carry it: {left}"


def _why_no_machine(settings: Pool, standing: PoolStanding, budget: BudgetLeft | None) -> str:
    """Why the pool gets no machine, whatever is offered. Empty: it gets one where work wants it."""
    everything = Demand(pending=settings.limit * settings.slots, leased=0)
    scaling = scale(settings, everything, standing.machines, Money(budget.usd if budget else None))
    if scaling.mint:
        return ""
    if scaling.at_budget and budget:
        return f"{budget.name} is spent: it has {_shown(budget.usd)} $ left beside what machines can still cost"
    if settings.limit == 0:
        return "the pool's limit is 0"
    there = f"{len(standing.machines)} machines, those that boot or are being slain included"
    return f"the pool's limit ({settings.limit}) is reached: it has {there}"


def _why_no_offer(market: RatedOffers, judged: RatedOffers) -> str:
    if market.none_takeable:
        return market.why_none()
    first = judged.offers[0]  # those that may be taken come first
    return f"{first.provider} {first.offer.id}".strip() + f": {first.refused}" if first.refused else ""


def _shown(usd: Decimal) -> str:
    return f"{usd.quantize(_SHOWN):f}"
