"""Guards against requests to addresses inside (SSRF): resolves a host, and gives only addresses that may be called.

The address that was checked is the one that is connected to: a name that resolves otherwise a moment later, or to a
public and a private address at once, leads nowhere else.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_NAT64 = ip_network("64:ff9b::/96")
_METADATA = frozenset(map(ip_address, ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")))
"""Where clouds hand out credentials: never called, not even where private addresses are allowed."""


class AddressRefused(Exception):
    """The host cannot be resolved, or only to addresses that may not be called. The message says what to do."""


async def checked_address(host: str, port: int, *, private: bool, resolve: Resolve | None = None) -> str:
    """Return an address of the host that may be called; of several the first. Raises AddressRefused.

    Args:
        host: Name or address.
        port: For the resolver.
        private: Whether addresses of this machine and of private networks may be called too.
        resolve: In place of the system's resolver.

    """
    found = await (resolve or _resolved)(host, port)
    allowed = [text for text in found if _may_be_called(ip_address(text.partition("%")[0]), private=private)]
    if allowed:
        return allowed[0]
    if found:
        raise AddressRefused(
            f"{host} is {found[0]}, an address inside, which callbacks may not reach. If that is meant, set "
            "allow_private = true; metadata services are never called"
        )
    raise AddressRefused(f"{host} has no address")


async def _resolved(host: str, port: int) -> Sequence[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressRefused(f"{host} does not resolve") from error
    return [str(address[0]) for *_, address in found]


def _may_be_called(address: IPAddress, *, private: bool) -> bool:
    address = _meant(address)
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    return private or address.is_global


def _meant(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 one leads to, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    embedded = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    return embedded or address
