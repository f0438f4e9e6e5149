"""Ways to a worker over real sockets: what it dials, and its gate."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response

from tests.polling import until
from tests.workers.servers.running import free_port
from tests.workers.services.answering import TOKEN, answering, order, request, whole
from webhook.proxy.exchange import MachineLost
from webhook.proxy.tunnel_machine import TunnelMachine
from workers.client import ControlPlaneClient
from workers.concurrency import end
from workers.services.ways import GateUnavailable, gate_address, open_gate, opened_ways
from workers.tunnel.link import LinkLost, TunnelLink
from workers.tunnel.wires import LibraryWire, dial, tunnel_options


class TunnelHub:
    """A control plane that takes connections of the tunnel, and nothing else."""

    def __init__(self) -> None:
        self.machine = TunnelMachine()
        self.dialled: list[tuple[str, str]] = []
        self.refused = 0

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        self.dialled.append((request.path, request.headers["Authorization"]))
        if self.refused > 0:
            self.refused -= 1
            return connection.respond(HTTPStatus.FORBIDDEN, "not yours")
        return None

    async def run(self, connection: ServerConnection) -> None:
        link = TunnelLink(LibraryWire(connection))
        self.machine.links.append(link)
        try:
            with contextlib.suppress(LinkLost):
                await link.run()
        finally:
            self.machine.links.remove(link)


async def test_a_worker_dials_and_dials_again_where_it_is_refused_or_cut_off() -> None:
    hub = TunnelHub()
    hub.refused = 2
    async with (
        answering() as requests,
        serve(hub.run, "127.0.0.1", 0, process_request=hub.check, **tunnel_options()) as server,
        ControlPlaneClient(f"http://127.0.0.1:{_port(server)}", TOKEN) as client,
    ):
        async with opened_ways(order(), requests, client):
            await until(lambda: len(hub.machine.links) == 4, failure="not all were opened")
            assert set(hub.dialled) == {("/v1/services/echo/tunnel", f"Bearer {TOKEN}")}
            async with hub.machine.exchange(request()) as answer:
                assert await whole(answer.body) == b"ok"
            for connection in [*server.connections]:
                connection.transport.abort()
            dialled = len(hub.dialled)
            await until(lambda: len(hub.dialled) >= dialled + 4 and len(hub.machine.links) == 4)
            async with hub.machine.exchange(request()) as answer:
                assert await whole(answer.body) == b"ok"
        await until(lambda: not hub.machine.links, failure="a connection is left")


def _port(server: Any) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


async def test_one_connection_is_enough_for_one_request_at_a_time() -> None:
    hub = TunnelHub()
    async with (
        answering() as requests,
        serve(hub.run, "127.0.0.1", 0, process_request=hub.check, **tunnel_options()) as server,
        ControlPlaneClient(f"http://127.0.0.1:{_port(server)}", TOKEN) as client,
        opened_ways(order(concurrency=1), requests, client),
    ):
        await until(lambda: bool(hub.machine.links))
        async with hub.machine.exchange(request()) as answer:
            assert await whole(answer.body) == b"ok"
        assert len(hub.dialled) == 1


async def test_a_gate_takes_those_with_its_token_only() -> None:
    direct = order(way="direct", direct_port=free_port(), direct_token=TOKEN)
    url = f"http://127.0.0.1:{direct.direct_port}/"
    async with answering() as requests, open_gate(direct, requests):
        for token in ("", "wrong", TOKEN + "x", TOKEN[:-1]):
            with pytest.raises(InvalidStatus) as caught:
                await dial(url, token)
            assert caught.value.response.status_code == 401
        async with dial(url, TOKEN) as connection:
            link = TunnelLink(LibraryWire(connection))
            running = asyncio.create_task(link.run())
            way = TunnelMachine()
            way.links.append(link)
            async with way.exchange(request()) as answer:
                assert await whole(answer.body) == b"ok"
            await connection.send(b"nonsense!!")
            await until(running.done, failure="the gate goes on")
            with pytest.raises(MachineLost):
                async with way.exchange(request()):
                    pytest.fail("answered")
            await end([running])


async def test_a_gate_whose_port_is_taken_says_what_to_do() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        direct = order(way="direct", direct_port=listener.getsockname()[1], direct_token=TOKEN)
        async with answering() as requests:
            with pytest.raises(GateUnavailable, match="choose another direct_port"):
                async with open_gate(direct, requests):
                    pytest.fail("opened")


async def test_a_gate_without_a_token_is_not_opened() -> None:
    async with answering() as requests:
        with pytest.raises(GateUnavailable):
            async with open_gate(order(way="direct", direct_port=free_port()), requests):
                pytest.fail("opened")


@pytest.mark.parametrize(
    ("way", "url", "environ", "address"),
    [
        ("tunnel", "http://127.0.0.1:1", {}, ""),
        ("direct", "http://127.0.0.1:1", {}, "http://127.0.0.1:7000"),
        ("direct", "https://yurt.example", {}, ""),
        (
            "direct", "https://yurt.example", {"PUBLIC_IPADDR": "203.0.113.9", "VAST_TCP_PORT_7000": "40123"},
            "http://203.0.113.9:40123",
        ),
    ],
)  # fmt: skip
def test_where_a_gate_is_reached(way: str, url: str, environ: dict[str, str], address: str) -> None:
    port = 7000 if way == "direct" else None
    assert gate_address(order(way=way, direct_port=port), url, environ) == address
