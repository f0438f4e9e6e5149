"""Offers are searched as the market searches them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from infra.market.exchange import Wrong
from infra.market.offers import MarketOffer, found

OFFERS = [
    MarketOffer(1, 11, 21, 0.3, gpu_name="A", verified=False).shown(36),
    MarketOffer(2, 12, 22, 0.1, gpu_name="B", gpu_ram=8_000).shown(36),
    MarketOffer(3, 13, 23, 0.2, gpu_name="A").shown(36),
]


def query(**conditions: Any) -> dict[str, Any]:
    return {"order": [["dph_total", "asc"]], "type": "on-demand", "allocated_storage": 36.0, **conditions}


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ({}, [2, 3, 1]),
        ({"verified": {"eq": False}}, [1]),
        ({"gpu_ram": {"gte": 12000.0}}, [3, 1]),
        ({"dph_total": {"gt": "0.15", "lt": "0.25"}}, [3]),
        ({"gpu_name": {"in": ["B", "C"]}}, [2]),
        ({"gpu_name": {"notin": ["B"]}, "order": [["dph_total", "desc"]]}, [1, 3]),
    ],
)
def test_conditions_hold_and_the_order_is_kept(conditions: dict[str, Any], ids: list[int]) -> None:
    assert [offer["id"] for offer in found(OFFERS, query(**conditions))] == ids


@pytest.mark.parametrize(
    "wrong",
    [
        {"gpus": {"eq": "1"}},
        {"num_gpus": "1"},
        {"num_gpus": {"is": "1"}},
        {"verified": {"eq": "true"}},
        {"gpu_name": {"eq": 3}},
        {"order": [["dph_total", "up"]]},
        {"type": "bid"},
        {"allocated_storage": "36"},
    ],
)
def test_a_search_that_the_market_does_not_know_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises((Wrong, KeyError)):
        found(OFFERS, query(**wrong))


def test_the_price_includes_the_disk_that_was_asked_for() -> None:
    offer = MarketOffer(1, 11, 21, 0.2, storage_cost=0.73)
    assert offer.shown(100)["dph_total"] == pytest.approx(0.3)
    assert offer.hourly_usd(100) == Decimal("0.3")
