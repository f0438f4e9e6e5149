"""Refuses to rent a machine that could not reach the control plane: one elsewhere never calls home to loopback."""

from __future__ import annotations

from urllib.parse import urlsplit

from webhook.fleet.providers import ProviderRefused
from webhook.store_endpoint import is_loopback
from workers.outgoing import sends_in_clear

_ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def is_local_only(url: str) -> bool:
    """Whether only this machine itself can reach a URL."""
    return is_loopback(url) or urlsplit(url).hostname in _ALL_ADDRESSES


def refuse_unreachable(url: str) -> None:
    """Raise ProviderRefused where a rented machine could not call home to ``url``."""
    if is_local_only(url):
        hint = "set server.public_url to a URL at which it does"
        raise ProviderRefused(f"a machine elsewhere cannot reach the control plane at {url}", hint=hint)


def refuse_in_clear(url: str) -> None:
    """Raise ProviderRefused where a rented machine would send its token unencrypted to ``url``."""
    if sends_in_clear(url):
        hint = "set server.public_url to its https:// URL"
        raise ProviderRefused(f"{url} is plain http: on its way a machine's token could be read", hint=hint)
