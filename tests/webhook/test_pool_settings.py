"""A pool names its providers in one way."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from webhook.pool_settings import Pool


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ("local",)),
        ({"provider": "vast"}, ("vast",)),
        ({"provider": "none"}, ()),
        ({"providers": ["home", "vast"]}, ("home", "vast")),
    ],
)
def test_its_providers_are_in_their_order(settings: dict[str, Any], names: tuple[str, ...]) -> None:
    pool = Pool.model_validate(settings)
    assert pool.provider_names == names
    assert pool.is_minted is bool(names)


def test_it_waits_for_its_slowest_provider_where_it_does_not_say_for_how_long() -> None:
    pool = Pool.model_validate({"providers": ["home", "vast"]}).with_boot_seconds([60, 600])
    assert pool.boot_seconds == 600
    assert pool.with_boot_seconds([60]).boot_seconds == 60, "another kind of provider has its name now"
    assert pool.model_dump(exclude_unset=True) == {"providers": ("home", "vast")}
    said = Pool.model_validate({"provider": "vast", "boot_seconds": 90})
    assert said.with_boot_seconds([600]).boot_seconds == 90
    assert Pool.model_validate({"provider": "none"}).with_boot_seconds([]).boot_seconds == 60


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"provider": "home", "providers": ["vast"]}, "provider and providers are both set"),
        ({"providers": ["home", "home"]}, "different providers"),
        ({"providers": ["none", "home"]}, "different providers"),
    ],
)
def test_what_names_no_provider_or_one_twice_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Pool.model_validate(settings)
