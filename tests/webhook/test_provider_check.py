"""``yurt check`` asks each provider that a pool names, and finds budgets that carry no machine."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.webhook.fleet.asked_provider import AskedProvider
from tests.webhook.plane import configured
from webhook.check import Finding
from webhook.config import Config
from webhook.fleet.providers import Instance, ProviderFinding
from webhook.ledger.machines import new_label
from webhook.provider_check import findings_of, provider_findings, strangers_of
from webhook.provider_settings import LocalSettings
from webhook.secret_settings import Secrets

HAND = {"local": {"provider": "none"}}


def pools(**pool: Any) -> Config:
    return configured(pools={**HAND, "gpu": pool}, providers={"a": {"kind": "local"}, "b": {"kind": "local"}})


async def test_each_provider_of_a_pool_is_asked_once_and_no_other() -> None:
    asked = {
        "a": AskedProvider(found=[ProviderFinding(ok=True, message="the key is good")]),
        "b": AskedProvider(found=[ProviderFinding(ok=False, message="the image is not there", hint="Push it.")]),
        "local": AskedProvider(error=AssertionError("no pool names it")),
    }
    config = configured(
        pools={"gpu": {"providers": ["a", "b"]}, "cpu": {"provider": "a"}, **HAND},
        providers={"a": {"kind": "local"}, "b": {"kind": "local"}},
    )
    assert await findings_of(config, asked) == [
        Finding("provider a", "ok", "the key is good"),
        Finding("provider b", "failed", "the image is not there", "Push it."),
    ]


async def test_a_provider_that_hangs_is_a_failure() -> None:
    [found] = await findings_of(pools(provider="a"), {"a": AskedProvider(hangs=True)}, seconds=0.05)
    assert (found.level, found.message) == ("failed", "did not answer within 0.05 s")


async def test_an_url_that_rented_machines_cannot_reach_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalSettings, "same_machine", False)
    found = await provider_findings(pools(provider="a"), Secrets())
    [wrong] = [one for one in found if one.level == "failed"]
    assert "pool gpu at provider a could not call home: server.public_url is not set" in wrong.message
    assert "server.public_url" in wrong.advice


@pytest.mark.parametrize(
    ("pool", "server", "settings"),
    [
        ({"max_usd_per_hour": "0.6", "budget_usd_per_day": "0.19"}, {}, ["pools.gpu.budget_usd_per_day (0.19)"]),
        ({"max_usd_per_hour": "0.6", "budget_usd_per_day": "0.2"}, {}, []),
        ({"max_usd_per_hour": "0.6"}, {"budget_usd_per_day": "0.19"}, ["server.budget_usd_per_day (0.19)"]),
        ({"budget_usd_per_day": "0.19"}, {}, []),  # its machines may be cheap
        ({"max_usd_per_hour": "0.6", "budget_usd_per_day": "0", "provider": "none"}, {}, []),
    ],
)
async def test_a_budget_that_carries_no_machine_is_a_warning(
    pool: dict[str, Any], server: dict[str, Any], settings: list[str]
) -> None:
    # 900 s to drain and 300 s to be destroyed: a third of an hour.
    config = configured(pools={**HAND, "gpu": pool}, server=server)
    warned = [one for one in await provider_findings(config, Secrets()) if one.level == "warning"]
    assert [one.message.partition(" is less")[0] for one in warned] == settings
    assert all("until it is gone: 0.2" in one.message for one in warned)
    assert Decimal("0.2") == Decimal("0.6") * 1200 / 3600


def listing(*ids: str) -> AskedProvider:
    return AskedProvider(listed=[Instance(new_label("yurt", "gpu", id), "r") for id in ids])


@pytest.mark.parametrize(
    ("own_id", "ids", "number"),
    [
        ("0a1b2c3d", ["0a1b2c3d", ""], 0),
        ("0a1b2c3d", ["99999999", "0a1b2c3d", "99999999"], 2),
        ("", ["99999999", "99999999", ""], 0),
        ("", ["99999999", "0a1b2c3d"], 2),
    ],
)
async def test_another_installation_of_the_name_is_a_failure(own_id: str, ids: list[str], number: int) -> None:
    found = await strangers_of(pools(provider="a"), {"a": listing(*ids)}, own_id)
    assert [one.level for one in found] == ["failed"] * bool(number)
    if found:
        assert f'another installation named "yurt" rents {number} machines there, yurt-gpu-' in found[0].message
        assert "server.name" in found[0].advice


async def test_a_provider_whose_list_fails_has_no_strangers() -> None:
    assert not await strangers_of(pools(provider="a"), {"a": AskedProvider(error=OSError("away"))}, "0a1b2c3d")
