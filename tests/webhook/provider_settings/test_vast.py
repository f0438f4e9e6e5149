"""What the vast provider accepts in its settings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from webhook.provider_settings import VastSettings

RIGHT = {"kind": "vast", "image": "registry.example.com/you/yurt:0.2"}


def settings(**given: Any) -> VastSettings:
    return VastSettings.model_validate({**RIGHT, **given})


def test_the_query_has_the_real_disk_and_an_order() -> None:
    query = settings(search="verified=any gpu_ram>=12", disk_gb=36).query
    assert query == {
        "external": {"eq": False},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "gpu_ram": {"gte": 12000.0},
        "order": [["dph_total", "asc"]],
        "type": "on-demand",
        "allocated_storage": 36.0,
    }
    assert settings(order="reliability-").query["order"] == [["reliability", "desc"]]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"search": "gpu_ram>=x"}, "at column 10: gpu_ram is a number"),
        ({"order": "dhp+"}, "at column 1: the market has no field 'dhp': is dph meant?"),
        ({"disk_gb": 7}, "greater than or equal to 8"),
        ({"image_gb": -1}, "greater than or equal to 0"),
        ({"weights_gb": "NaN"}, "finite number"),
        ({"environment": {"VAST_API_KEY": "x"}}, "looks like a secret"),
        ({"api_url": "http://console.vast.ai/api"}, "has to begin with https://"),
        ({"api_url": "https://me:key@console.vast.ai/api"}, "has to be the base of Vast.ai's API"),
        ({"api_url": "console.vast.ai"}, "has to be the base of Vast.ai's API"),
        ({"api_url": "https://[::1"}, "has to be the base of Vast.ai's API"),
        ({"image_login": "-u me -p secret"}, "valid boolean"),
    ],
)
def test_settings_that_the_market_would_not_take_are_refused(wrong: dict[str, Any], said: str) -> None:
    settings()
    with pytest.raises(ValidationError, match=said):
        settings(**wrong)


def test_only_a_market_on_this_machine_has_machines_that_reach_its_loopback() -> None:
    assert settings(api_url="http://127.0.0.1:8000/api/").same_machine
    assert settings(api_url="http://127.0.0.1:8000/api/").api_url == "http://127.0.0.1:8000/api"
    assert not settings().same_machine
