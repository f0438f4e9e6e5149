"""Requests that a machine refuses before its server has seen them: they wait for the next one, with their bodies."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import NoReturn
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

from tests.polling import until
from tests.webhook.plane import ADMIN
from tests.webhook.proxy.serving import Serving, reachable, services_at, with_services
from tests.webhook.proxy.standin import standing_in
from tests.workers.services.answering import TunnelledServer, machine, request, whole
from tests.workers.services.echoing import NAMES, echoing
from webhook.proxy import early_answer, forwarding
from webhook.proxy.exchange import ForwardedAnswer, ForwardedRequest, MachineLost
from webhook.proxy.forwarding import KEPT_BYTES, RequestBody
from webhook.proxy.tunnel_machine import TunnelMachine
from workers.tunnel.link import TunnelLink


async def _in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


def _has_refused(machine: TunnelledServer) -> bool:
    return machine.way.links[0].has_refused


async def _nothing(*_: object) -> None:
    """No connection is answered: the machine's server is another one."""


@pytest.mark.parametrize("through_another", [False, True])
async def test_a_refused_request_is_sent_whole_to_the_server_that_comes_next(
    postgres_dsn: str, *, through_another: bool
) -> None:
    config = reachable(with_services(echo={"concurrency": 4}))
    async with (
        services_at(postgres_dsn, config) as s,
        s.replica(config) as other,
        standing_in() as server,
        machine(_nothing, port=server.port) as new,
    ):
        replica, ways = other if through_another else s, s.plane.services.proxy.registry
        first = asyncio.create_task(replica.ask("GET", "/services/echo/first"))
        worker = await s.machine()
        await s.given(worker)
        ways.appeared("echo", worker.id, new.way)
        assert (await first).status_code == 200
        for method, content, body in (
            ("GET", None, b""),
            ("POST", b"hello", b"hello"),
            ("PUT", _in_pieces(b"z" * 5_000, 500), b"z" * 5_000),
        ):
            seen = len(server.requests)
            async with machine(_nothing, port=server.port) as old:
                await old.requests.drain(0)
                ways.vanished("echo", worker.id)
                ways.appeared("echo", worker.id, old.way)
                asked = asyncio.create_task(replica.ask(method, "/services/echo/x", content=content))
                await until(functools.partial(_has_refused, old))
                assert len(server.requests) == seen
                ways.appeared("echo", worker.id, new.way)
                answer = await asked
            assert (answer.status_code, answer.json().get("body")) == (200, body.decode()), answer.text
            assert len(server.requests) == seen + 1, "it is sent once"


async def _refused_and_taken(s: Serving, old: TunnelledServer, new: TunnelledServer) -> None:
    """Have the server of a machine refuse what waits, and the one that replaces it take it."""
    ways, worker = s.plane.services.proxy.registry, await s.machine()
    await s.given(worker)
    await old.requests.drain(0)
    ways.appeared("echo", worker.id, old.way)
    await until(lambda: _has_refused(old))
    ways.appeared("echo", worker.id, new.way)


@pytest.mark.parametrize("through_another", [False, True])
async def test_a_large_body_is_asked_for_no_further_than_it_can_be_sent_again(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, *, through_another: bool
) -> None:
    monkeypatch.setattr(early_answer, "TAKEN_SECONDS", 600)  # it is told, not waited for
    size = 8 << 20
    config = reachable(with_services(echo={}))
    async with (
        services_at(postgres_dsn, config) as s,
        s.replica(config) as other,
        standing_in() as server,
        machine(_nothing, port=server.port) as old,
        machine(_nothing, port=server.port) as new,
    ):
        content = _in_pieces(b"y" * size, 50_000)
        replica = other if through_another else s
        asked = asyncio.create_task(replica.ask("POST", "/services/echo/sink", content=content))
        await _refused_and_taken(s, old, new)
        assert ((await asked).status_code, server.received_bytes) == (204, size)


class _EndsLate:
    """A machine whose answers are complete, and whose exchanges break after that."""

    def __init__(self, surplus: bytes) -> None:
        self.end = asyncio.Event()
        self.ended = 0
        self._surplus = surplus

    @contextlib.asynccontextmanager
    async def exchange(self, request: ForwardedRequest) -> AsyncIterator[ForwardedAnswer]:
        yield ForwardedAnswer(200, [(b"content-length", b"5")], self._body())

    async def _body(self) -> AsyncIterator[bytes]:
        yield b"hello"
        await self.end.wait()
        self.ended += 1
        if self._surplus:
            yield self._surplus
        raise MachineLost("gone", answered=True)

    def upgrade(self, *_: object) -> NoReturn:
        raise NotImplementedError


@pytest.mark.parametrize("surplus", [b"", b"more"])
async def test_an_exchange_that_breaks_after_its_answer_breaks_no_other_request_of_the_client(
    postgres_dsn: str, surplus: bytes
) -> None:
    way = _EndsLate(surplus)
    async with services_at(postgres_dsn, with_services(echo={"concurrency": 4})) as s:
        first = asyncio.create_task(s.ask("GET", "/services/echo/first"))
        worker = await s.machine()
        await s.given(worker)
        s.plane.services.proxy.registry.appeared("echo", worker.id, way)
        assert (await first).text == "hello"
        reader, writer = await asyncio.open_connection("127.0.0.1", s.plane.port)
        for number in range(3):
            writer.write(
                f"GET /services/echo/{number} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\n\r\n".encode()
            )
            assert await asyncio.wait_for(reader.readline(), 10) == b"HTTP/1.1 200 OK\r\n"
            await reader.readuntil(b"hello")
            if number == 1:
                way.end.set()
                await until(lambda: way.ended == 3 and s.load() == (0, 0))
        writer.close()


async def test_only_the_begin_of_a_body_is_kept() -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"x" * (KEPT_BYTES // 2), "more_body": True}

    body = RequestBody(receive, 1 << 30)
    read = [aiter(body), aiter(body)]
    for _ in range(2):
        await anext(read[0])
    assert body.is_kept
    assert [len(await anext(read[1])) for _ in range(2)] == [KEPT_BYTES // 2] * 2
    await anext(read[1])
    assert body.is_kept
    await anext(read[1])
    assert not body.is_kept


async def test_a_client_that_sends_no_more_of_its_body_is_given_up(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "CHUNK_SECONDS", 0.2)
    async with services_at(postgres_dsn) as s, standing_in() as server:
        first = asyncio.create_task(s.ask("GET", "/services/echo/first"))
        await s.serve(server)
        assert (await first).status_code == 200, "the machine is ready"
        address = urlsplit(s.plane.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = f"POST /services/echo/sink HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\n"
        writer.write(f"{head}content-length: 10\r\n\r\nhalf".encode())
        answer = await reader.read()  # to its end: the connection is closed
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
        assert b'"too-slow"' in answer
        assert b"no more of the body arrived within 0.2 seconds" in answer
        writer.close()
        await until(lambda: not server.under_way, failure="the server still waits for the rest")
        assert server.received_bytes < 10
        assert s.load() == (0, 0)


async def test_a_handshake_that_is_refused_waits_for_the_server_that_comes_next(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn) as s, echoing() as (old, _), echoing() as (new, server):
        url = s.plane.url.replace("http", "ws", 1)
        headers = {"authorization": f"Bearer {ADMIN}"}
        connecting = connect(f"{url}/services/echo/", additional_headers=headers, subprotocols=NAMES, proxy=None)
        opening = asyncio.ensure_future(connecting)
        await _refused_and_taken(s, old, new)
        async with await opening as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
        assert server.request is not None


async def test_a_request_that_is_refused_all_the_time_is_told_so_once_its_wait_is_over(postgres_dsn: str) -> None:
    config = with_services(echo={"wait_seconds": 3})
    async with services_at(postgres_dsn, config) as s, machine(_nothing) as leaving:
        await leaving.requests.drain(0)
        asked = asyncio.create_task(s.ask("POST", "/services/echo/x", content=b"hello"))
        worker = await s.machine()
        await s.given(worker)
        s.plane.services.proxy.registry.appeared("echo", worker.id, leaving.way)
        answer = await asked
        assert (answer.status_code, answer.json()["error"]) == (504, "waited-too-long")
        assert "the machine takes no more requests" in answer.json()["message"]


async def test_a_machine_that_says_that_its_server_is_not_ready_gets_no_request(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn) as s, standing_in() as server:
        first = asyncio.create_task(s.ask("GET", "/services/echo/first"))
        worker = await s.serve(server)
        assert (await first).status_code == 200
        assert (await worker.post("services/echo/report", {"state": "starting"})).status_code == 200
        machines = s.plane.services.proxy.queues["echo"].machines
        await until(lambda: worker.id not in machines or not machines[worker.id].is_ready)
        asked = asyncio.create_task(s.ask("POST", "/services/echo/x", content=b"hello"))
        await until(lambda: worker.id in machines and not machines[worker.id].is_ready and s.load() == (1, 0))
        assert len(server.requests) == 1
        assert (await worker.post("services/echo/report", {"state": "ready"})).status_code == 200
        assert (await asked).json()["body"] == "hello"


async def test_a_connection_that_has_refused_a_request_is_used_last() -> None:
    async with (
        standing_in() as server,
        machine(_nothing, port=server.port) as old,
        machine(_nothing, port=server.port) as new,
    ):
        way, links = TunnelMachine(), (new.way.links[0], old.way.links[0])
        await old.requests.drain(0)

        async def answered(*used: TunnelLink) -> bool:
            way.links[:] = used
            async with way.exchange(request()) as answer:
                return bool(await whole(answer.body))

        assert await answered(*reversed(links)), "the newest one is used"
        with pytest.raises(MachineLost):
            await answered(*links)
        assert await answered(*links)
