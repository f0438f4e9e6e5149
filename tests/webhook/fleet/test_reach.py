"""Rented machines that could not call home are refused before one is rented."""

from __future__ import annotations

import pytest

from tests.webhook.plane import configured
from webhook.config import Config
from webhook.config_faults import ConfigError
from webhook.fleet.reach import out_of_reach, refuse_out_of_reach
from webhook.pool_settings import Pool
from webhook.provider_settings import LocalSettings


def config(url: str, provider: str = "local") -> Config:
    pools = {"local": Pool(provider="none"), "gpu": Pool(provider=provider)}
    return configured(pools=pools, server={"public_url": url})


@pytest.fixture
def rented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines of the provider are elsewhere."""
    monkeypatch.setattr(LocalSettings, "same_machine", False)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "server.public_url is not set"),
        ("http://localhost:8080", "http://localhost:8080 is this machine's own"),
        ("http://yurt.localhost:8080", "own address"),
        ("http://127.0.0.3:8080", "own address"),
        ("http://[::1]:8080", "own address"),
        ("http://0.0.0.0:8080", "own address"),
    ],
)
@pytest.mark.usefixtures("rented")
def test_an_url_that_only_this_machine_reaches_is_refused(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"Set server\.public_url to the https:// URL") as refused:
        refuse_out_of_reach(config(url))
    assert "machines of pool gpu at provider local could not call home" in str(refused.value)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://yurt.example.com", "http://yurt.example.com is plain http"),
        ("https://192.168.1.7:8080", "https://192.168.1.7:8080 is in a private network"),
    ],
)
def test_the_start_is_refused_for_what_an_order_would_be_refused_for(url: str, says: str) -> None:
    vast = {"kind": "vast", "image": "docker.io/me/worker:1"}
    pools = {"local": Pool(provider="local"), "gpu": Pool(provider="market")}
    with pytest.raises(ConfigError, match=says):
        refuse_out_of_reach(configured(pools=pools, providers={"market": vast}, server={"public_url": url}))


@pytest.mark.parametrize("url", ["https://yurt.example.com", "http://192.168.1.7:8080", "https://[2001:db8::1]"])
@pytest.mark.usefixtures("rented")
def test_an_url_of_this_machine_in_a_network_is_taken(url: str) -> None:
    assert out_of_reach(config(url), url) == ""


@pytest.mark.usefixtures("rented")
def test_a_pool_that_mints_nothing_needs_no_url() -> None:
    refuse_out_of_reach(config("", provider="none"))


def test_local_workers_need_no_url() -> None:
    refuse_out_of_reach(config(""))
