"""WebSockets of clients at one replica, to machines whose tunnels end at another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.polling import until
from tests.webhook.plane import ADMIN
from tests.webhook.proxy.serving import Serving, reachable, services_at, with_services
from tests.workers.services.answering import TunnelledServer
from tests.workers.services.echoing import EchoingSockets, echoing
from webhook.proxy.replica_ways import PASSED_ON

BIG = 3_000_000


@contextlib.asynccontextmanager
async def two_replicas(
    postgres_dsn: str, **settings: Any
) -> AsyncIterator[tuple[Serving, Serving, TunnelledServer, EchoingSockets]]:
    """A machine whose tunnel ends at the first of two replicas."""
    config = reachable(with_services(echo=settings))
    async with (
        services_at(postgres_dsn, config) as first,
        first.replica(config) as second,
        echoing() as (machine, server),
    ):
        waiting = asyncio.create_task(second.ask("GET", "/services/echo/"))
        await until(lambda: second.load() == (1, 0))
        worker = await first.machine()
        await first.given(worker)
        first.plane.services.proxy.registry.appeared("echo", worker.id, machine.way)
        await waiting  # from here on the second one holds the slot
        yield first, second, machine, server


def socket_at(replica: Serving, path: str, prefix: str = "/services/echo", **headers: str) -> connect:
    url = replica.plane.url.replace("http", "ws", 1) + prefix + path
    sent: dict[str, Any] = {"authorization": f"Bearer {ADMIN}", **headers}
    return connect(url, additional_headers=sent, subprotocols=[Subprotocol("a")], max_size=None, proxy=None)


async def opened(replica: Serving, path: str) -> None:
    async with socket_at(replica, path):
        pass


async def closed(socket: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as caught:
        await socket.recv()
    received = caught.value.rcvd
    assert received
    return received.code, received.reason


async def test_messages_go_both_ways(postgres_dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with two_replicas(postgres_dsn) as (_, second, _, server):
        async with socket_at(second, "/chat%20x?x=%23", **{"x-app": "1", "yurt-host": "evil.example"}) as socket:
            assert socket.subprotocol == "a"
            for message in ("text ✓", b"bytes", "", b"", "x" * BIG, bytes(BIG)):
                await socket.send(message)
                assert await socket.recv() == message
            await socket.close(4000, "bye")
        assert await server.closed == (4000, "bye")
        assert server.request
        assert server.request.path == "/chat%20x?x=%23"
        headers = server.request.headers
        assert headers.get_all("Host") == [second.plane.url.removeprefix("http://")]
        assert (headers["X-App"], headers["X-Forwarded-Prefix"]) == ("1", "/services/echo")
        assert not {name for name in headers if name.lower().startswith(("yurt-", "authorization"))}
    assert "fault" not in capsys.readouterr().out, "that the client closes it is none"


async def test_the_servers_close_arrives_with_its_code(postgres_dsn: str) -> None:
    async with two_replicas(postgres_dsn) as (_, second, _, _), socket_at(second, "/") as socket:
        await socket.send("close")
        assert await closed(socket) == (4001, "as you wish")


async def test_a_client_that_vanishes_closes_the_servers_side(
    postgres_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with two_replicas(postgres_dsn) as (_, second, _, server):
        async with socket_at(second, "/") as socket:
            await socket.send("a")
            await socket.recv()
            socket.transport.abort()
        assert (await asyncio.wait_for(server.closed, 30))[0] == 1000
        await until(lambda: second.load() == (0, 0), failure="its slot is not given back")
    assert "fault" not in capsys.readouterr().out


async def test_a_refusal_of_the_server_arrives_as_it_is(postgres_dsn: str) -> None:
    async with two_replicas(postgres_dsn) as (_, second, _, _):
        with pytest.raises(InvalidStatus) as caught:
            await socket_at(second, "/refused")
        response = caught.value.response
        assert (response.status_code, response.body) == (403, b"no socket for you")
        assert "set-cookie" not in response.headers, "it would be the control plane's"
        assert response.headers["content-security-policy"].startswith("sandbox")


async def test_a_client_that_leaves_while_it_waits_leaves_the_queue(
    postgres_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with services_at(postgres_dsn, with_services(echo={})) as serving:
        asked = asyncio.create_task(opened(serving, "/"))
        await until(lambda: serving.load() == (1, 0))
        asked.cancel()
        await asyncio.wait([asked])
        await until(lambda: serving.load() == (0, 0), seconds=10, failure="it waits still")
    assert "fault" not in capsys.readouterr().out


async def test_a_machine_that_the_other_replica_has_lost_is_lost(postgres_dsn: str) -> None:
    async with two_replicas(postgres_dsn, wait_seconds=5) as (_, second, machine, _):
        async with socket_at(second, "/") as socket:
            machine.wire.cut()
            assert (await closed(socket))[0] == 1011
        with pytest.raises(InvalidStatus) as caught:
            await socket_at(second, "/")
        assert caught.value.response.status_code == 504, "it has waited for a machine that takes it"


async def test_only_replicas_pass_them_on(postgres_dsn: str) -> None:
    async with two_replicas(postgres_dsn) as (first, _, _, server):
        [worker] = first.workers
        for headers, status in (
            ({"yurt-replica": "guessed", "yurt-machine": f"{worker.id}"}, 401),
            ({"yurt-replica": first.plane.services.proxy.replica_token, "yurt-machine": "99"}, 502),
        ):
            with pytest.raises(InvalidStatus) as caught:
                await socket_at(first, "/x", f"{PASSED_ON}echo", **headers)
            assert caught.value.response.status_code == status
        assert server.request is None or server.request.path != "/x"
