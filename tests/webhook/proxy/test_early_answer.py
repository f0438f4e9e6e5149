"""Answers that come before the request's body has ended, and bodies that wait until a machine has taken the request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpcore
import pytest

from tests.polling import until
from tests.stream_server import stream_server
from tests.webhook.plane import ADMIN
from tests.webhook.proxy.serving import reachable, services_at, with_services
from tests.webhook.proxy.standin import standing_in
from tests.workers.services.answering import Reader, Writer, head_of, machine, request, whole
from webhook.proxy.early_answer import CONTINUE, ListeningBackend, SentBody
from webhook.proxy.exchange import ForwardedAnswer, ForwardedRequest, MachineLost
from webhook.proxy.forwarding import KEPT_BYTES
from webhook.proxy.http_machine import HttpMachine, connection_pool
from webhook.proxy.replica_ways import ReplicaMachine

PIECE = 50_000
SENT = b"x" * (KEPT_BYTES + 3 * PIECE)
"""What a client sends of a body that is longer: then it waits for the answer."""
HEAD = (
    f"POST /services/echo/upload HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\n"
    f"content-length: {8 << 20}\r\n\r\n"
).encode()
REFUSAL = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\nx-limit: 5\r\n\r\ntoo long"


async def refusing(reader: Reader, writer: Writer) -> None:
    """Refuse a request by its head, and read nothing of its body."""
    await head_of(reader)
    writer.write(REFUSAL)
    await writer.drain()
    await asyncio.Event().wait()


@pytest.mark.parametrize("through_another", [False, True])
async def test_an_answer_before_the_body_s_end_reaches_a_client_that_waits_for_it(
    postgres_dsn: str, *, through_another: bool
) -> None:
    config = reachable(with_services(echo={}))
    async with services_at(postgres_dsn, config) as s, s.replica(config) as other, machine(refusing) as refuses:
        address = urlsplit((other if through_another else s).plane.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(HEAD + SENT)
        worker = await s.machine()
        await s.given(worker)
        s.plane.services.proxy.registry.appeared("echo", worker.id, refuses.way)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"x-limit: 5" in head
        assert await reader.readexactly(8) == b"too long"
        writer.close()


@contextlib.asynccontextmanager
async def exchanging(port: int, sent: ForwardedRequest) -> AsyncIterator[ForwardedAnswer]:
    """Send a request as to another replica."""
    async with connection_pool() as pool, ReplicaMachine(pool, f"http://127.0.0.1:{port}", ()).exchange(sent) as answer:
        yield answer


class PiecewiseBody:
    """A body in pieces, of which it is known how much was asked for."""

    def __init__(self, pieces: int) -> None:
        self.asked_bytes = 0
        self.left = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.left:
            self.left -= 1
            self.asked_bytes += PIECE
            yield b"x" * PIECE


def posted(chunks: AsyncIterator[bytes], length: int | None) -> ForwardedRequest:
    return ForwardedRequest("POST", b"/", [(b"host", b"x")], chunks, length)


@pytest.mark.parametrize("cut", [len(CONTINUE), 5])
async def test_a_body_goes_on_once_the_request_is_taken(cut: int) -> None:
    body, pieces = PiecewiseBody(40), -(-(KEPT_BYTES + 1) // PIECE)
    asked: list[int] = []

    async def takes(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        await reader.readexactly(pieces * PIECE)
        asked.append(body.asked_bytes)
        writer.write(CONTINUE[:cut])
        await writer.drain()
        writer.write(CONTINUE[cut:])
        await reader.readexactly((40 - pieces) * PIECE)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with stream_server(takes) as port, exchanging(port, posted(aiter(body), 40 * PIECE)) as answer:
        assert (answer.status, await whole(answer.body)) == (200, b"ok")
    assert asked == [pieces * PIECE]


async def test_an_answer_may_come_with_what_says_that_the_request_is_taken() -> None:
    async def takes_and_refuses(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(CONTINUE + REFUSAL)

    stalled: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        yield await stalled

    sent = posted(chunks(), None)
    async with stream_server(takes_and_refuses) as port, exchanging(port, sent) as answer:
        assert (answer.status, await whole(answer.body)) == (413, b"too long")
    assert stalled.cancelled(), "the rest of the body is given up"


async def test_a_connection_that_ends_within_a_body_is_noticed_while_no_more_of_it_comes() -> None:
    async def leaves(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.close()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async with stream_server(leaves) as port:
        with pytest.raises(MachineLost):
            async with exchanging(port, posted(chunks(), 2)):
                raise AssertionError("there is no answer")


async def test_a_connection_serves_further_requests_where_the_answer_came_after_the_body() -> None:
    connections: list[Writer] = []

    async def answers(reader: Reader, writer: Writer) -> None:
        connections.append(writer)
        while head := await head_of(reader):
            await reader.readexactly(5 if b"content-length: 5" in head else 0)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with stream_server(answers) as port, connection_pool() as pool:
        way = HttpMachine(pool, f"http://127.0.0.1:{port}", ())
        for sent in (request("POST", b"/", b"hello", length=5), request(), request("PUT", b"/", b"hello", length=5)):
            async with way.exchange(sent) as answer:
                assert await whole(answer.body) == b"ok"
    assert len(connections) == 1


async def test_a_connection_whose_last_write_was_broken_off_is_not_used_again() -> None:
    async def reads_nothing(_: Reader, writer: Writer) -> None:
        writer.write(REFUSAL)
        await asyncio.Event().wait()

    async with stream_server(reads_nothing) as port:
        stream = await ListeningBackend().connect_tcp("127.0.0.1", port)
        with SentBody(PiecewiseBody(1).__aiter__(), is_told=False).sending(), pytest.raises(httpcore.WriteError):
            await stream.write(b"x" * (64 << 20))  # more than the network takes
        assert await stream.read(1_000) == REFUSAL
        assert stream.get_extra_info("is_readable"), "httpcore closes what it could read while it is idle"
        await stream.aclose()


async def test_requests_that_follow_a_long_body_on_their_client_s_connection_are_sent(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn) as s, standing_in() as server:
        address = urlsplit(s.plane.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        common = f"HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\n"
        writer.write(f"PUT /services/echo/sink {common}content-length: {(8 << 20) + 1}\r\n\r\n".encode())
        # More than is read ahead: reading the connection is paused, and goes on while the body is sent.
        writer.write(b"x" * (8 << 20))
        await s.serve(server)
        await until(lambda: server.received_bytes == 8 << 20)
        writer.write(b"x")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        writer.write(f"GET /services/echo/next {common}\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert [target for _, target, _ in server.requests] == [b"/sink", b"/next"]
        writer.close()
