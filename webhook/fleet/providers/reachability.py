"""Refuses to rent a machine whose worker could not call home: by the control plane's URL, and where the machine is."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from webhook.fleet.providers import ProviderRefused
from webhook.provider_settings import (
    ExecSettings,
    FlySettings,
    KubernetesSettings,
    ProviderSettings,
    RunpodSettings,
    VastSettings,
)
from webhook.store_endpoint import is_loopback
from workers.outgoing import ALLOW_HTTP, sends_in_clear

_ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound
_PRIVATE_NAMES = (".local", ".internal", ".lan", ".flycast")
_FLY_NAMES = (".internal", ".flycast")
"""Resolved in the private network of a Fly organisation, in which its machines are."""
_FLY_NETWORK = IPv6Network("fdaa::/16")


def is_local_only(url: str) -> bool:
    """Whether only this machine itself can reach a URL."""
    return is_loopback(url) or urlsplit(url).hostname in _ALL_ADDRESSES


def why_unreachable_from(settings: ProviderSettings, url: str) -> str:
    """Say what is wrong with the control plane's URL for a provider's machines, as in "URL is …". Empty: nothing."""
    if settings.same_machine:
        return ""
    if is_local_only(url):
        return "is this machine's own address"
    if _is_out_of_reach(settings, url):
        return "is in a private network, into which machines of this provider have no way"
    if _is_refused_in_clear(settings, url):
        return (
            "is plain http, to which a worker sends no token, unless the provider's settings say that the network is "
            f'trusted: environment = {{ {ALLOW_HTTP} = "1" }}'
        )
    return ""


def refuse_unreachable(settings: ProviderSettings, url: str) -> None:
    """Raise ProviderRefused where a worker on a machine of the provider could not call home to ``url``."""
    if why := why_unreachable_from(settings, url):
        hint = "set server.public_url to the https:// URL at which it does"
        raise ProviderRefused(f"a machine elsewhere cannot reach the control plane at {url}, which {why}", hint=hint)


def _is_out_of_reach(settings: ProviderSettings, url: str) -> bool:
    """Whether a URL is private, and the machines have nothing but the internet. Other kinds may be in the network."""
    match settings:
        case FlySettings():
            return is_private(url) and not _is_in_fly(url)
        case RunpodSettings() | VastSettings():
            return is_private(url)
        case _:
            return False


def is_private(url: str) -> bool:
    """Whether a URL's host has an address that is not global, or a name that only a private network resolves."""
    host = _host(url)
    if address := _address(host):
        return not address.is_global
    return "." not in host or host.endswith(_PRIVATE_NAMES)


def _is_in_fly(url: str) -> bool:
    host = _host(url)
    if address := _address(host):
        return address in _FLY_NETWORK
    return host.endswith(_FLY_NAMES)


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is written as. None: it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_refused_in_clear(settings: ProviderSettings, url: str) -> bool:
    """Whether a worker would refuse a URL. Not asked of docker, whose container then ends at once and costs nothing."""
    match settings:
        case ExecSettings() | FlySettings() | KubernetesSettings() | RunpodSettings() | VastSettings():
            return sends_in_clear(url) and settings.environment.get(ALLOW_HTTP) != "1"
        case _:
            return False
