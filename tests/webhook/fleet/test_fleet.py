from __future__ import annotations

import pytest

from tests.webhook.fleet.fleet_contract import CHECKS, Check
from tests.webhook.fleet.fleet_memory import MemoryFleet
from webhook.ledger.machines import Intent, installation_of, new_label


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_fleet_in_memory_keeps_the_contract(check: Check) -> None:
    await check(MemoryFleet())


def test_labels_are_unique_dns_labels_of_their_owner() -> None:
    labels = {new_label("yurt", "photo-pool") for _ in range(100)}
    assert len(labels) == 100
    assert all(label.startswith("yurt-photo-pool-") for label in labels)
    assert len(new_label("o" * 16, "p" * 24, "0" * 8)) <= 63


def test_a_label_tells_its_installation() -> None:
    assert installation_of(new_label("yurt", "a", "0a1b2c3d")) == "0a1b2c3d"
    for pool in ("a", "a-0a1b2c3d", "0a1b2c3d"):
        assert installation_of(new_label("yurt", pool)) == "", "as the version before made it"
    assert installation_of("yurt-a-0A1B2C3D0123456789ab") == ""
    with pytest.raises(ValueError, match="must match"):
        new_label("yurt", "a", "0a1b")


@pytest.mark.parametrize(("owner", "pool"), [("", "a"), ("a-b", "a"), ("A", "a"), ("a", ""), ("a", "-a"), ("a", "a_b")])
def test_labels_of_another_form_are_refused(owner: str, pool: str) -> None:
    with pytest.raises(ValueError, match="must match"):
        new_label(owner, pool)


def test_an_intent_does_not_show_its_token() -> None:
    assert "secret" not in repr(Intent(1, "yurt-a-0", "secret"))
