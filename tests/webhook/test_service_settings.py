from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.webhook.proxy.serving import with_services
from webhook.service_settings import Service
from workers.protocol import ModelRef


def test_presets_fill_in_what_is_not_said() -> None:
    cog = Service.model_validate({"preset": "cog", "port": 5001})
    assert (cog.port, cog.ready, cog.ready_status) == (5001, "/health-check", ("READY", "BUSY"))
    assert Service.model_validate({"preset": "openai"}).port == 8000


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "port"),
        ({"port": 1, "way": "direct"}, "direct_port"),
        ({"port": 1, "direct_port": 2}, "leave out direct_port"),
        ({"port": 1, "way": "direct", "direct_port": 1}, "may not be port"),
        ({"port": 1, "models": ["a", "a"]}, "named twice"),
        ({"port": 1, "command": ["serve", "{model:a}"]}, "add 'a' to models"),
        (
            {"port": 1, "models": ["b"], "environment": {"X": "{model:b}/{model:a}"}},
            "environment holds {model:a}: add 'a'",
        ),
        ({"port": 1, "hosts": ["A.example.com"]}, "lower case"),
        ({"port": 1, "ready": "health"}, "ready"),
        ({"port": 1, "folder": "src"}, "folder"),
    ],
)
def test_what_cannot_be_is_refused_with_field_and_remedy(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Service.model_validate(settings)


@pytest.mark.parametrize(
    ("services", "said"),
    [
        ({"a": {"pool": "none"}}, r"services.a.pool: there is no pool 'none' \(there are: local\)"),
        ({"a": {"models": ["m"]}}, "services.a.models: there is no model 'm'"),
        ({"a": {"hosts": ["x.org"]}, "b": {"hosts": ["x.org"]}}, "services.b.hosts: 'x.org' is a host of services.a"),
    ],
)
def test_services_fit_the_rest_of_the_configuration(services: dict[str, dict[str, Any]], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        with_services(**services)


def test_an_order_holds_what_a_worker_needs_and_no_token_without_a_direct_way() -> None:
    models = (ModelRef(name="m", root="a" * 64, size=1),)
    tunnel = Service.model_validate({"port": 1, "models": ["m"], "concurrency": 3, "folder": "/src"}).order(
        "s", models, "secret"
    )
    assert (tunnel.folder, tunnel.kind) == ("/src", "")
    assert [Service(preset=each, port=1).order("s", (), "").kind for each in ("cog", "openai")] == ["cog", ""]
    assert (tunnel.name, tunnel.port, tunnel.concurrency, tunnel.models, tunnel.direct_token) == ("s", 1, 3, models, "")
    direct = Service.model_validate({"port": 1, "way": "direct", "direct_port": 2}).order("s", (), "secret")
    assert (direct.direct_port, direct.direct_token) == (2, "secret")
