"""The ways by which requests for a service come to this worker: connections that it opens, or a gate that it opens."""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NoReturn
from urllib.parse import urlsplit

import structlog
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.http11 import Request, Response

from workers.client import ControlPlaneClient
from workers.concurrency import all_of, end
from workers.outgoing import why_unreachable
from workers.protocol import ServiceOrder
from workers.retry import Backoff, NetworkFault
from workers.services.requests import ServiceRequests
from workers.tunnel.frames import TunnelViolation
from workers.tunnel.link import LinkLost, TunnelLink
from workers.tunnel.wires import OPEN_SECONDS, LibraryWire, dial, tunnel_options

_log = structlog.get_logger()

MOST_LINKS = 4
"""Connections that a worker opens for one service: while bodies fill one, small requests use another."""
MOST_CLIENTS = 64
"""Connections at a gate."""
_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - a gate is there to be reached from outside


class GateUnavailable(Exception):
    """The gate cannot be opened. The message says why and what to do."""


class _LinkFault(NetworkFault):
    """A connection was not opened, or is gone."""


@asynccontextmanager
async def opened_ways(
    order: ServiceOrder, requests: ServiceRequests, client: ControlPlaneClient
) -> AsyncIterator[None]:
    """Have requests come for the length of the ``async with`` block. Raises GateUnavailable."""
    if order.way == "direct":
        async with open_gate(order, requests):
            yield
        return
    links = min(MOST_LINKS, order.concurrency)
    task = asyncio.create_task(_keep_links(order.name, requests, client, links))
    try:
        yield
    finally:
        await end([task])


# ── tunnel ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _keep_links(service: str, requests: ServiceRequests, client: ControlPlaneClient, links: int) -> None:
    await all_of(_keep_link(service, requests, client) for _ in range(links))


async def _keep_link(service: str, requests: ServiceRequests, client: ControlPlaneClient) -> NoReturn:
    """Keep one connection to the control plane open, with another each time that it breaks."""
    while True:  # from the first wait again: each of the connections was good
        try:
            await Backoff().retrying()(_run_link, service, requests, client)
        except TunnelViolation as error:
            _log.error("service-tunnel-broken", service=service, error=str(error))
            await asyncio.sleep(Backoff().longest_seconds)


async def _run_link(service: str, requests: ServiceRequests, client: ControlPlaneClient) -> None:
    """Open a connection, and answer requests until it is gone. Raises _LinkFault where it was not opened."""
    try:
        async with dial(f"{client.url}/v1/services/{service}/tunnel", client.token) as connection:
            _log.info("service-tunnel-open", service=service)
            link = TunnelLink(LibraryWire(connection), requests.opened)
            try:
                await link.run()
            except LinkLost as lost:
                _log.info("service-tunnel-lost", service=service, why=str(lost))
    except InvalidStatus as refused:
        raise _fault(service, f"it was answered {refused.response.status_code}") from None
    except InvalidHandshake as error:
        raise _fault(service, str(error)) from None
    except (OSError, TimeoutError, EOFError) as error:
        raise _fault(service, why_unreachable(error)) from None


def _fault(service: str, why: str) -> _LinkFault:
    _log.warning("service-tunnel-not-open", service=service, why=why)
    return _LinkFault(why, transient=True)


# ── direct ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def open_gate(order: ServiceOrder, requests: ServiceRequests) -> AsyncIterator[None]:
    """Listen on the order's port for connections that show its token. Raises GateUnavailable."""
    if order.direct_port is None or not order.direct_token:
        raise GateUnavailable(
            "The order has no port or no token for a direct way: this is a fault of the control plane."
        )
    gate = _Gate(order.direct_token, requests)
    try:
        server = await serve(
            gate.run, _EVERY_ADDRESS, order.direct_port, process_request=gate.check, open_timeout=OPEN_SECONDS,
            server_header=None, **tunnel_options(),
        )  # fmt: skip
    except OSError as error:
        raise GateUnavailable(
            f"Port {order.direct_port} cannot be listened on ({error.strerror}): choose another direct_port."
        ) from error
    async with server:
        yield


class _Gate:
    """Lets connections in that show the token."""

    def __init__(self, token: str, requests: ServiceRequests) -> None:
        self._token = f"Bearer {token}".encode()
        self._requests = requests
        self._clients = 0

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse a handshake without the token. Takes constant time."""
        given = request.headers.get_all("Authorization")
        if len(given) != 1 or not hmac.compare_digest(given[0].encode("utf-8", "replace"), self._token):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the token is wrong\n")
        if self._clients >= MOST_CLIENTS:
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "too many connections are open\n")
        return None

    async def run(self, connection: ServerConnection) -> None:
        """Answer requests until the connection is gone."""
        self._clients += 1
        try:
            await TunnelLink(LibraryWire(connection), self._requests.opened).run()
        except LinkLost:
            pass
        except TunnelViolation as error:
            _log.error("gate-broken", error=str(error))
        finally:
            self._clients -= 1


def gate_address(order: ServiceOrder, url: str, environ: Mapping[str, str] = os.environ) -> str:
    """Where the gate is reached from the control plane at ``url``, as far as this machine knows; empty: it does not.

    Vast tells each container its address, and to which port of it a port of the container is mapped.
    """
    if order.way != "direct":
        return ""
    address, port = environ.get("PUBLIC_IPADDR", ""), environ.get(f"VAST_TCP_PORT_{order.direct_port}", "")
    if address and port.isdigit():
        return f"http://{address}:{port}"
    if (urlsplit(url).hostname or "") in ("127.0.0.1", "localhost", "::1"):
        return f"http://127.0.0.1:{order.direct_port}"
    return ""
