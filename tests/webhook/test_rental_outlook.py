"""What a pool would rent now is what the autoscaler would, and why not is what the ledger says to that."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests import postgres
from tests.webhook.rentals import fleet_on, rent
from webhook.fleet.market import ProviderOffers, needed_usd
from webhook.fleet.providers import Offer
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.machines import Budget, Intent, MachineState, NotIntended, Terms
from webhook.pool_settings import Pool
from webhook.rental_outlook import PoolStanding, RentalOutlook, pool_standing, rental_outlook

CHEAP = Offer("1", Decimal("0.2"), Decimal(0), "m-1")
DEAR = Offer("2", Decimal("0.8"), Decimal(0), "m-2")


def pool(**settings: Any) -> Pool:
    return Pool.model_validate({"providers": ["cheap"], "limit": 3, **settings})


async def looked(dsn: str, settings: Pool, *offers: Offer, all_usd: str | None = None) -> RentalOutlook:
    standing = await pool_standing(dsn, "gpu", settings.provider_names)
    assert standing.not_known == ""
    return rental_outlook(settings, (all_usd and Decimal(all_usd)) or None, standing, [ProviderOffers("cheap", offers)])


async def test_what_did_not_boot_is_not_taken_and_the_next_offer_is(postgres_dsn: str) -> None:
    async with postgres.database(postgres_dsn) as (database, dsn):
        fleet = fleet_on(database)
        await fleet.avoid(await rent(fleet, "gpu", machine="m-1"), "boot-deadline", 86_400)
        outlook = await looked(dsn, pool(), CHEAP, DEAR)
        assert [(one.offer.id, one.refused) for one in outlook.market.offers] == [
            ("2", ""), ("1", "did not boot within the last day"),
        ]  # fmt: skip
        assert outlook.why_none == ""
        assert (await looked(dsn, pool(), CHEAP)).why_none == "cheap: did not boot within the last day"


async def test_a_limit_counts_all_machines_that_are_not_gone(postgres_dsn: str) -> None:
    async with postgres.database(postgres_dsn) as (database, dsn):
        fleet = fleet_on(database)
        machines = [await rent(fleet, "gpu") for _ in range(3)]
        await rent(fleet, "other")
        await fleet.slaying(machines[0].id, "idle", MachineState.INTENDED)
        why = (await looked(dsn, pool(), CHEAP)).why_none
        assert why.startswith("the pool's limit (3) is reached: it has 3 machines")
        await fleet.gone(machines[0].id)
        assert (await looked(dsn, pool(), CHEAP)).why_none == ""
        assert (await looked(dsn, pool(limit=0), CHEAP)).why_none == "the pool's limit is 0"


@pytest.mark.parametrize("of_pool", [True, False])
async def test_an_offer_is_taken_where_the_budget_carries_it(postgres_dsn: str, of_pool: bool) -> None:
    async with postgres.database(postgres_dsn) as (database, dsn):
        fleet = fleet_on(database)
        await rent(fleet, "gpu")
        spending = await fleet.spending_today("gpu")
        settings = pool()
        needed = needed_usd(settings, (await looked(dsn, settings, CHEAP)).market.offers[0])
        # What machines have cost meanwhile comes on top: a budget that carries the offer carries it for a while.
        enough = round(spending.pool_spent + spending.pool_bound + needed + Decimal("0.05"), 4)
        for usd, carries in ((enough, True), (enough - Decimal("0.06"), False)):
            settings = pool(budget_usd_per_day=usd) if of_pool else pool()
            outlook = await looked(dsn, settings, CHEAP, all_usd=None if of_pool else str(usd))
            named = "the pool's budget of the day" if of_pool else "the budget of the day of all pools"
            assert (outlook.why_none == "") == carries, outlook.why_none
            assert (named in outlook.why_none) != carries
            assert outlook.why_none in ("", f"cheap 1: {outlook.market.offers[0].refused}")
            assert ((outlook.pool_left_usd is None), (outlook.all_left_usd is None)) == (not of_pool, of_pool)
            assert await would_intend(fleet, settings, None if of_pool else usd) == carries


async def would_intend(fleet: LedgerFleet, settings: Pool, all_usd: Decimal | None) -> bool:
    """Whether the ledger takes the intent that the autoscaler would write for the cheap offer."""
    terms = Terms(CHEAP.usd_per_hour, Decimal(0), settings.reserve_seconds)
    intent = await fleet.intend("gpu", "cheap", settings.limit, terms, Budget(settings.budget_usd_per_day, all_usd))
    if isinstance(intent, Intent):
        await fleet.slaying(intent.id, "idle", MachineState.INTENDED)
        await fleet.gone(intent.id)
        return True
    assert intent is NotIntended.BUDGET
    return False


async def test_of_two_offers_one_may_be_too_much_for_the_budget(postgres_dsn: str) -> None:
    async with postgres.database(postgres_dsn) as (_, dsn):
        settings = pool(drain_seconds=3_600, budget_usd_per_day="0.5")
        outlook = await looked(dsn, settings, CHEAP, DEAR)
        cheap, dear = (one.refused for one in outlook.market.offers)
        assert (cheap, dear[:47]) == ("", "the pool's budget of the day does not carry it:")
        assert outlook.why_none == ""
        dear_first = await looked(dsn, settings, DEAR, CHEAP)
        assert ([one.offer.id for one in dear_first.market.offers], dear_first.why_none) == (["1", "2"], "")
        assert (await looked(dsn, settings, DEAR)).why_none == f"cheap 2: {dear}"


async def test_at_the_end_of_the_budget_no_offer_is_looked_at(postgres_dsn: str) -> None:
    async with postgres.database(postgres_dsn) as (database, dsn):
        await rent(fleet_on(database), "gpu", usd_per_hour="3")
        outlook = await looked(dsn, pool(budget_usd_per_day="3.05"), Offer("free", Decimal(0)))
        assert outlook.why_none.startswith("the pool's budget of the day is spent: it has 0.0")
        assert outlook.market.offers[0].refused == ""


def test_without_a_ledger_offers_alone_decide() -> None:
    unknown = PoolStanding(not_known="DATABASE_URL is not set")
    outlook = rental_outlook(pool(budget_usd_per_day="0.0001"), None, unknown, [ProviderOffers("cheap", [CHEAP])])
    assert (outlook.why_none, outlook.pool_left_usd) == ("", None)
    assert rental_outlook(pool(), None, unknown, [ProviderOffers("cheap", ())]).why_none == "cheap: no room"


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        ("", "DATABASE_URL is not set"),
        ("mysql://x", "DATABASE_URL: it does not begin with"),
        ("postgresql://yurt:secret@127.0.0.1:9/x", "the database does not answer"),
    ],
)
async def test_a_ledger_that_cannot_be_read_is_said_so(dsn: str, says: str) -> None:
    standing = await pool_standing(dsn, "gpu", ["cheap"])
    assert standing.not_known.startswith(says)
    assert "secret" not in standing.not_known


async def test_a_database_without_a_ledger_is_said_so(postgres_dsn: str) -> None:
    assert "schema is not there" in (await pool_standing(postgres_dsn, "gpu", ["cheap"])).not_known
