"""The market takes what the real one is known to take, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from infra.market.exchange import ApiRequest, Wrong
from infra.market.market import Market
from infra.market.offers import MarketOffer

BODY = {
    "image": "yurt:1",
    "disk": 8,
    "label": "yurt-a-1",
    "env": {"YURT_URL": "https://yurt.example.com"},
    "runtype": "args",
    "args": ["worker"],
    "cancel_unavail": True,
}


def market() -> Market:
    return Market([MarketOffer(1, 11, 21, 0.2), MarketOffer(2, 12, 22, 0.1)])


def call(to: Market, method: str, path: str, body: Any = None, **query: str) -> Any:
    return to.answer(ApiRequest(method, path, query, {}, body))


def test_an_instance_is_made_listed_and_destroyed_and_its_machine_is_on_offer_again() -> None:
    one = market()
    id = call(one, "PUT", "/v0/asks/1/", BODY).value["new_contract"]
    assert call(one, "PUT", "/v0/asks/1/", BODY).value["error"] == "no_such_ask"
    assert [each["id"] for each in call(one, "GET", "/v1/instances/", limit="25").value["instances"]] == [id]
    assert call(one, "DELETE", f"/v0/instances/{id}/").value == {"success": True}
    assert call(one, "DELETE", f"/v0/instances/{id}/").value["error"] == "no_such_instance"
    assert call(one, "GET", "/v1/instances/", limit="25").value == {"instances": [], "next_token": None}
    assert {offer.machine_id for offer in one.offers.values()} == {11, 12}
    assert len(one.books()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"cancel_unavail": False},
        {"runtype": "ssh"},
        {"args": []},
        {"disk": 7},
        {"disk": "36"},
        {"env": {"A": 1}},
        {"onstart": "x"},
        {"label": None},
    ],
)
def test_a_creation_that_would_cost_more_or_is_not_known_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(Wrong):
        call(market(), "PUT", "/v0/asks/1/", {**BODY, **wrong})


def test_the_old_list_is_gone_and_an_unknown_call_is_wrong() -> None:
    assert call(market(), "GET", "/v0/instances/").status == 410
    for method, path in (("GET", "/v0/bundles/"), ("PUT", "/v0/instances/7/"), ("GET", "/v1/instances/7/")):
        with pytest.raises(Wrong):
            call(market(), method, path)


@pytest.mark.parametrize("query", [{"limit": "26"}, {"limit": "0"}, {"limit": "25", "owner": "me"}])
def test_a_list_by_an_unknown_filter_is_wrong(query: dict[str, str]) -> None:
    with pytest.raises(Wrong):
        call(market(), "GET", "/v1/instances/", **query)


def test_calls_without_spacing_are_wrong() -> None:
    one = market()
    for _ in range(3):
        call(one, "PUT", "/v0/asks/9/", BODY)
    with pytest.raises(Wrong, match="calls to create come too fast"):
        call(one, "PUT", "/v0/asks/9/", BODY)
