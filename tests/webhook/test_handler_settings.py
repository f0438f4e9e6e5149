"""What a pipeline may say of its handler's limits and sandbox."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from webhook.handler_settings import HandlerLimits, SandboxSettings


def test_defaults_bound_a_handler_and_jail_it() -> None:
    assert (HandlerLimits().memory_bytes, HandlerLimits().output_bytes) == (2 << 30, 512 << 20)
    assert (SandboxSettings().mode, SandboxSettings().network, SandboxSettings().read) == ("on", False, ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "maybe"},
        {"reads": ["/models"]},
        {"read": ["models"]},
        {"write": [""]},
        {"ports": [0]},
        {"ports": [65_536]},
    ],
)
def test_a_wrong_sandbox_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SandboxSettings.model_validate(wrong)


@pytest.mark.parametrize("wrong", [{"memory_bytes": 1}, {"memory": 1 << 30}, {"output_bytes": 6 << 30}])
def test_wrong_limits_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HandlerLimits.model_validate(wrong)
