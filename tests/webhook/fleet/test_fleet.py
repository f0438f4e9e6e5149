from __future__ import annotations

from typing import Any

import pytest

from tests.webhook.fleet.fleet_contract import CHECKS, Check
from tests.webhook.fleet.fleet_memory import MemoryFleet
from webhook.fleet.fleet import PoolPolicy, worker_idle_seconds
from webhook.ledger.machines import Intent, new_label


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_fleet_in_memory_keeps_the_contract(check: Check) -> None:
    await check(MemoryFleet())


def test_labels_are_unique_dns_labels_of_their_owner() -> None:
    labels = {new_label("yurt", "photo-pool") for _ in range(100)}
    assert len(labels) == 100
    assert all(label.startswith("yurt-photo-pool-") for label in labels)
    assert len(new_label("o" * 16, "p" * 24)) <= 63


@pytest.mark.parametrize(("owner", "pool"), [("", "a"), ("a-b", "a"), ("A", "a"), ("a", ""), ("a", "-a"), ("a", "a_b")])
def test_labels_of_another_form_are_refused(owner: str, pool: str) -> None:
    with pytest.raises(ValueError, match="must match"):
        new_label(owner, pool)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "A"}, "name must match"),
        ({"limit": -1}, "limit must be"),
        ({"limit": 1_001}, "limit must be"),
        ({"minimum": 21}, "minimum may not be more than limit"),
        ({"slots": 0}, "slots must be"),
        ({"slots": 65}, "slots must be"),
        ({"breaker_failures": 0}, "breaker_failures must be"),
        ({"idle_seconds": 0}, "idle_seconds must be"),
        ({"boot_seconds": float("inf")}, "boot_seconds must be"),
        ({"drain_seconds": float("nan")}, "drain_seconds must be"),
        ({"silent_seconds": 30}, "silent_seconds must be more than 30"),
        ({"mint_seconds": 300}, "mint_seconds must be less than boot_seconds"),
    ],
)
def test_a_policy_that_contradicts_itself_names_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PoolPolicy(**{"name": "a", "provider": "local", "url": "http://127.0.0.1", **fields})


def test_a_worker_leaves_by_itself_only_after_the_autoscaler_would_have_slain_it() -> None:
    policy = PoolPolicy(name="a", provider="local", url="")
    assert worker_idle_seconds(policy.idle_seconds, policy.minimum) > policy.idle_seconds
    warm = PoolPolicy(name="a", provider="local", url="", minimum=1)
    assert worker_idle_seconds(warm.idle_seconds, warm.minimum) > 3_600


def test_an_intent_does_not_show_its_token() -> None:
    assert "secret" not in repr(Intent(1, "yurt-a-0", "secret"))
