"""Refuses to rent a machine that could not reach the control plane: one elsewhere never calls home to loopback."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from webhook.fleet.providers import ProviderRefused


def is_local_only(url: str) -> bool:
    """Whether only this machine itself can reach a URL."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback or ip_address(host).is_unspecified
    except ValueError:
        return False


def refuse_unreachable(url: str) -> None:
    """Raise ProviderRefused where a rented machine could not call home to ``url``."""
    if is_local_only(url):
        hint = "set server.public_url to a URL at which the internet reaches the control plane"
        raise ProviderRefused(f"a rented machine cannot reach the control plane at {url}", hint=hint)
