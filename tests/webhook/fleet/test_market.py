"""The best offer is taken, at its real price, and what is not taken has a reason."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import islice
from typing import Any

from webhook.fleet.market import ProviderOffers, rated
from webhook.fleet.providers import Offer
from webhook.pool_settings import Pool


def offer(id: str, usd: str, *, once: str = "0", machine: str = "") -> Offer:
    return Offer(id, Decimal(usd), Decimal(once), machine)


HOME = ProviderOffers("home", [offer("", "0.5")])
VAST = ProviderOffers("vast", [offer("1", "0.2", once="0.6"), offer("2", "0.3"), offer("3", "0.9")])


def pool(**settings: Any) -> Pool:
    return Pool.model_validate({"providers": ["home", "vast"], **settings})


def taken(settings: Pool, *sources: ProviderOffers, most: int = 4) -> list[str]:
    return [f"{one.provider} {one.offer.id}".strip() for one in islice(rated(settings, sources).takeable(), most)]


def test_the_first_provider_is_taken_as_long_as_it_has_machines() -> None:
    assert taken(pool(), HOME, VAST) == ["home"] * 4
    assert taken(pool(), ProviderOffers("home", HOME.offers, allowance=1), VAST) == [
        "home",
        "vast 1",
        "vast 2",
        "vast 3",
    ]


def test_the_cheapest_is_the_one_whose_real_price_is_least() -> None:
    assert taken(pool(choose="cheapest"), HOME, VAST) == ["vast 2", "home", "home", "home"]
    assert taken(pool(choose="cheapest", life_hours=10), HOME, VAST)[0] == "vast 1", "traffic is spread over ten hours"


def with_traffic(id: str, usd: str, per_gb: str) -> Offer:
    return Offer(id, Decimal(usd), usd_per_gb=Decimal(per_gb))


def test_the_traffic_of_the_pools_models_is_in_the_price() -> None:
    offers = [with_traffic("cheap by the hour", "0.1", "0.02"), with_traffic("cheap by the GB", "0.2", "0.001")]
    for weights_bytes, first in ((0, "cheap by the hour"), (50_000_000_000, "cheap by the GB")):
        source = ProviderOffers("vast", offers, weights_bytes=weights_bytes)
        assert taken(pool(choose="cheapest"), source)[0] == f"vast {first}"
    best, *_ = rated(pool(choose="cheapest"), [source]).offers
    assert (best.usd_once, best.real_usd_per_hour) == (Decimal("0.05"), Decimal("0.25"))
    assert not taken(pool(max_usd_per_hour="0.24"), source), "0.25 with the models"


def test_offers_that_a_provider_leaves_to_the_price_are_in_its_order_for_every_pool() -> None:
    offers = [replace(one, by_price=True) for one in VAST.offers]
    source = ProviderOffers("vast", offers)
    assert taken(pool(), source) == ["vast 2", "vast 1", "vast 3"]
    assert taken(pool(life_hours=10), source) == ["vast 1", "vast 2", "vast 3"], "traffic is spread over ten hours"
    assert taken(pool(life_hours=10), HOME, source, most=1) == ["home"], "the first provider nevertheless"


def test_what_is_too_dear_is_not_taken() -> None:
    settings = pool(max_usd_per_hour="0.4")
    assert taken(settings, HOME, VAST) == ["vast 2"]
    assert rated(settings, [HOME]).why_none() == "home: dearer than max_usd_per_hour (0.4)"


def test_a_machine_that_did_not_boot_is_passed_over_and_not_its_whole_provider() -> None:
    bad = ProviderOffers("vast", [offer("1", "0.1", machine="m1"), offer("2", "0.2", machine="m2")], avoided={"m1"})
    assert taken(pool(), bad) == ["vast 2"]
    assert rated(pool(), [ProviderOffers("vast", bad.offers[:1], avoided={"m1"})]).why_none() == (
        "vast: did not boot within the last day"
    )


def test_each_single_offer_is_taken_once_and_a_kind_as_often_as_it_is_wanted() -> None:
    assert taken(pool(), VAST, most=9) == ["vast 1", "vast 2", "vast 3"]
    assert taken(pool(), ProviderOffers("home", HOME.offers, allowance=2), most=9) == ["home", "home"]


def test_a_region_has_as_many_machines_as_are_wanted() -> None:
    regions = ProviderOffers("fly", [Offer("ams", Decimal(1), many=True), Offer("fra", Decimal(1), many=True)])
    assert taken(pool(), regions, most=3) == ["fly ams"] * 3


def test_a_provider_that_is_not_asked_says_why() -> None:
    away = ProviderOffers("home", [], unavailable="is busy")
    assert rated(pool(), [away, ProviderOffers("vast", [])]).why_none() == "home: is busy; vast: no room"
    assert taken(pool(), away, VAST)[0] == "vast 1"


def test_a_rated_offer_reads_as_a_line_of_a_log() -> None:
    first, *_, last = rated(pool(max_usd_per_hour="0.8"), [VAST]).offers
    assert str(first) == "vast 1 at 0.8000 $/h"
    assert str(last) == "vast 3 at 0.9000 $/h: dearer than max_usd_per_hour (0.8)"
