"""A URL that only this machine can reach is of no use to a rented one."""

from __future__ import annotations

import pytest

from webhook.fleet.providers import ProviderRefused
from webhook.fleet.providers.reachability import is_local_only, refuse_in_clear, refuse_unreachable


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost", "http://a.localhost./x", "http://[::1]:80", "http://0.0.0.0:1"]
)
def test_loopback_is_refused_with_what_to_set(url: str) -> None:
    assert is_local_only(url)
    with pytest.raises(ProviderRefused) as caught:
        refuse_unreachable(url)
    assert "server.public_url" in caught.value.hint


@pytest.mark.parametrize("url", ["https://yurt.example.com", "http://10.0.0.7:8080", "https://localhost.example.com"])
def test_other_addresses_are_left_to_try(url: str) -> None:
    assert not is_local_only(url)
    refuse_unreachable(url)


def test_a_token_is_not_sent_in_clear() -> None:
    with pytest.raises(ProviderRefused, match="plain http"):
        refuse_in_clear("http://yurt.example.com")
    refuse_in_clear("https://yurt.example.com")
