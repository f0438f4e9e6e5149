"""URLs by which this machine reaches itself."""

from __future__ import annotations

import pytest

from webhook.local_url import local_url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("yurt.internal", "http://yurt.internal:80"),
    ],
)
def test_every_address_becomes_loopback(host: str, url: str) -> None:
    assert local_url(host, 80) == url
