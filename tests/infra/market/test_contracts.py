"""An instance boots through its states, and is billed for each hour at the price of that hour."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from infra.market.contracts import MarketContract
from infra.market.offers import MarketOffer


def contract(**given: Any) -> MarketContract:
    offer = MarketOffer(1, 11, 21, 0.2, storage_cost=0)
    return MarketContract(7, offer, {"label": "yurt-a-1", "disk": 8, "image": "i"}, 100.0, Decimal("0.05"), **given)


def test_it_boots() -> None:
    booting = contract(boot_seconds=30)
    assert [booting.state(100.0 + at) for at in (0, 10, 20, 30, 99)] == [
        None,
        "created",
        "loading",
        "running",
        "running",
    ]
    assert contract().state(100.0) == "running"
    assert contract(stuck="loading", boot_seconds=3).state(999.0) == "loading"


def test_it_is_billed_until_it_is_ended_at_the_price_of_each_hour() -> None:
    made = contract()
    made.reprice(Decimal("0.4"), 3_700.0)
    assert made.entry(3_700.0 + 1_800).hourly_usd == Decimal("0.2") + Decimal("0.2")
    made.ended = 3_700.0
    entry = made.entry(99_999.0)
    assert (entry.hours, entry.hourly_usd, entry.traffic_usd, entry.usd) == (
        Decimal(1),
        Decimal("0.2"),
        Decimal("0.05"),
        Decimal("0.25"),
    )


@pytest.mark.parametrize(("state", "address"), [("running", "203.0.113.7"), ("exited", None)])
def test_it_has_an_address_only_while_it_runs(state: str, address: str | None) -> None:
    made = contract()
    made.status = state
    assert (made.shown(100.0)["actual_status"], made.shown(100.0)["public_ipaddr"]) == (state, address)
