"""A URL by which a rented machine's worker cannot call home is refused, with what to set."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from webhook.fleet.providers import ProviderRefused
from webhook.fleet.providers.reachability import is_local_only, is_private, refuse_unreachable, why_unreachable_from
from webhook.provider_settings import ProviderSettings

IMAGE = {"image": "registry.example.com/yurt:1"}
KINDS: dict[str, dict[str, Any]] = {
    "docker": IMAGE,
    "exec": {"command": ["machines"]},
    "fly": {**IMAGE, "app": "workers", "usd_per_hour": 1},
    "kubernetes": IMAGE,
    "runpod": {**IMAGE, "gpu": "NVIDIA L4", "usd_per_hour": 1},
    "vast": IMAGE,
}
ADAPTER: TypeAdapter[ProviderSettings] = TypeAdapter(ProviderSettings)
ON_THE_INTERNET = ("fly", "runpod", "vast")


def settings(kind: str, **fields: Any) -> ProviderSettings:
    given = {"kind": kind, **KINDS.get(kind, {}), **fields}
    return ADAPTER.validate_python(given)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost", "http://a.localhost./x", "http://[::1]:80", "http://0.0.0.0:1"]
)
def test_loopback_is_refused_with_what_to_set(url: str, kind: str) -> None:
    assert is_local_only(url)
    with pytest.raises(ProviderRefused, match="this machine's own address") as caught:
        refuse_unreachable(settings(kind), url)
    assert "server.public_url" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("url", ["https://yurt.example.com", "https://localhost.example.com", "https://[2a09::1]:8443"])
def test_a_public_url_is_taken(url: str, kind: str) -> None:
    assert not is_local_only(url)
    refuse_unreachable(settings(kind), url)


PRIVATE = (
    "https://10.0.0.7:8080",
    "https://192.168.1.7",
    "https://172.16.0.1",
    "https://169.254.1.1",
    "https://100.64.0.1",
    "https://[fd00::1]",
    "https://[fe80::1]",
    "https://[::ffff:10.0.0.7]",
    "https://yurt.local",
    "https://yurt.lan.",
    "https://YURT.local",
    "https://yurt",
)


@pytest.mark.parametrize("url", PRIVATE)
def test_a_private_url_is_of_no_use_to_a_machine_on_the_internet(url: str) -> None:
    assert is_private(url)
    for kind in ON_THE_INTERNET:
        with pytest.raises(ProviderRefused, match=r"private network.*server\.public_url"):
            refuse_unreachable(settings(kind), url)
    for kind in set(KINDS) - set(ON_THE_INTERNET):  # these may be in that network
        refuse_unreachable(settings(kind), url)


@pytest.mark.parametrize("url", ["https://yurt.internal", "https://yurt.flycast", "https://[fdaa:0:1::3]:8080"])
def test_machines_at_fly_have_a_private_network(url: str) -> None:
    refuse_unreachable(settings("fly"), url)
    refuse_unreachable(settings("fly", environment={"YURT_ALLOW_HTTP": "1"}), url.replace("https", "http"))
    with pytest.raises(ProviderRefused, match="plain http"):
        refuse_unreachable(settings("fly"), url.replace("https", "http"))
    with pytest.raises(ProviderRefused, match="private network"):
        refuse_unreachable(settings("runpod"), url)


@pytest.mark.parametrize("kind", ["exec", "fly", "kubernetes", "runpod", "vast"])
def test_a_worker_that_would_refuse_plain_http_is_not_ordered(kind: str) -> None:
    url = "http://yurt.example.com"
    with pytest.raises(ProviderRefused, match=r'plain http.*environment = { YURT_ALLOW_HTTP = "1" }'):
        refuse_unreachable(settings(kind), url)
    refuse_unreachable(settings(kind, environment={"YURT_ALLOW_HTTP": "1"}), url)


def test_machines_on_this_machine_reach_it_by_any_url() -> None:
    for here in (
        settings("local"),
        settings("exec", rented=False),
        settings("vast", api_url="http://127.0.0.1:1/api"),
    ):
        assert not why_unreachable_from(here, "http://127.0.0.1:8080")
