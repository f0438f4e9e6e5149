"""Machines that are reached at an address of their own: the control plane opens the connections of the service tunnel.

What goes over them is the same as where the worker opens them. The worker's gate requires a token.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

import structlog
from websockets.exceptions import InvalidHandshake

from webhook.ledger.services import ServingMachine
from webhook.proxy.exchange import ForwardedAnswer, ForwardedRequest, MachineLost, ServiceSocket
from webhook.proxy.tunnel_machine import TunnelMachine
from workers.tunnel.frames import TunnelViolation
from workers.tunnel.link import LinkLost, TunnelLink
from workers.tunnel.wires import LibraryWire, dial

log = structlog.get_logger()

MAX_LINKS = 4
"""Connections to one machine: another one is opened while large bodies fill those that there are."""
_NAT64 = IPv6Network("64:ff9b::/96")
IDLE_SECONDS = 60.0
"""A connection without requests is closed after so long."""


class DirectMachines:
    """This replica's connections to machines, by address and token. Use on one event loop."""

    def __init__(self) -> None:
        self._machines: dict[tuple[str, str], DirectMachine] = {}

    def machine(self, address: str, token: str) -> DirectMachine:
        """The machine at an http:// or https:// address."""
        key = address, token
        if key not in self._machines:
            self._machines[key] = DirectMachine(address, token, lambda: self._forget(key))
        return self._machines[key]

    def way(self, machine: ServingMachine, token: str, *, local: bool) -> DirectMachine | None:
        """The way to a machine that serves a service; None: its server is not ready, or its address may not be.

        ``local``: its worker runs on this machine, and may name an address of it.
        """
        if machine.state != "ready" or not machine.address:
            return None
        if not may_be_dialled(machine.address, local=local):
            log.warning("address refused", worker=machine.worker_id, service=machine.service, address=machine.address)
            return None
        return self.machine(machine.address, token)

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(machine.aclose() for machine in self._machines.values()))

    def _forget(self, key: tuple[str, str]) -> None:
        self._machines.pop(key, None)


class DirectMachine:
    """A `ServiceMachine` at an address."""

    def __init__(self, address: str, token: str, idle: Callable[[], None]) -> None:
        """``idle`` is called when no connection is left."""
        self._url = address.rstrip("/") + "/"
        self._token = token
        self._idle = idle
        self._tunnel = TunnelMachine()
        self._running: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def exchange(self, request: ForwardedRequest) -> AsyncIterator[ForwardedAnswer]:
        """Send a request. See `ServiceMachine`."""
        await self._connected()
        async with self._tunnel.exchange(request) as answer:
            yield answer

    @asynccontextmanager
    async def upgrade(self, request: ForwardedRequest, subprotocols: Sequence[str]) -> AsyncIterator[ServiceSocket]:
        """Open a WebSocket. See `ServiceMachine`."""
        await self._connected()
        async with self._tunnel.upgrade(request, subprotocols) as socket:
            yield socket

    async def aclose(self) -> None:
        """Close all connections."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _connected(self) -> None:
        """Have a connection that takes a request at once. Raises MachineLost where there is none at all."""
        if self._is_enough():
            return
        async with self._opening:
            if self._is_enough():
                return
            try:
                await self._open()
            except MachineLost:
                if all(link.is_full for link in self._tunnel.links):
                    raise

    def _is_enough(self) -> bool:
        links = self._tunnel.links
        return len(links) >= MAX_LINKS or any(not link.is_full and not link.is_busy for link in links)

    async def _open(self) -> None:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(opened))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await opened

    async def _run(self, opened: asyncio.Future[None]) -> None:
        try:
            async with dial(self._url, self._token) as connection:
                link = TunnelLink(LibraryWire(connection))
                self._tunnel.links.append(link)
                opened.set_result(None)
                try:
                    await self._until_idle(link)
                finally:
                    self._tunnel.links.remove(link)
        except (OSError, TimeoutError, InvalidHandshake) as error:
            if not opened.done():
                opened.set_exception(MachineLost(f"its address cannot be connected to: {_words(error)}", unsent=True))
        except TunnelViolation as error:
            log.warning("direct way broken", address=self._url, error=str(error))
        except LinkLost:
            pass
        finally:
            if not opened.done():
                opened.set_exception(MachineLost("the connection was not opened", unsent=True))
            if not self._tunnel.links:
                self._idle()

    async def _until_idle(self, link: TunnelLink) -> None:
        """Run a connection until it breaks, or nothing has used it for a while."""
        running = asyncio.ensure_future(link.run())
        try:
            before = -1
            while True:
                done, _ = await asyncio.wait([running], timeout=IDLE_SECONDS)
                if done:
                    await running
                if not link.streams and link.opened == before:
                    return
                before = link.opened
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, LinkLost, TunnelViolation):
                await running


def may_be_dialled(address: str, *, local: bool) -> bool:
    """Whether an address that a worker has named may be connected to: none of this machine, or of its link."""
    try:
        parts = urlsplit(address)
        host = _reached(ip_address(parts.hostname or ""))
        names_only_a_port = parts.port != 0 and parts.path in ("", "/") and not (parts.query or parts.fragment)
    except ValueError:  # a name could lead anywhere
        return False
    if not names_only_a_port or "@" in parts.netloc or host.is_link_local or host.is_multicast or host.is_unspecified:
        return False
    return local or not host.is_loopback


def _reached(host: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """What an IPv6 address that stands for an IPv4 address leads to: mapped, by NAT64 (RFC 6052), or by 6to4."""
    if isinstance(host, IPv4Address):
        return host
    if host in _NAT64:
        return IPv4Address(int(host) & 0xFFFFFFFF)
    return host.ipv4_mapped or host.sixtofour or host


def _words(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
