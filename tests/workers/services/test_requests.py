"""Requests over a tunnel, from ExchangeOver at one end to a LocalServer at the other, with servers of every kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.polling import until
from tests.workers.services.answering import Reader, Writer, head_of, machine, request, whole
from webhook.proxy.exchange import ForwardedRequest, MachineLost, ServerNonsense

OK = b"HTTP/1.1 200 OK\r\n"


async def read_chunked(reader: Reader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


async def test_a_request_and_its_answer_go_through_as_they_are() -> None:
    heads: list[bytes] = []

    async def serve(reader: Reader, writer: Writer) -> None:
        while True:
            heads.append(await head_of(reader))
            body = await reader.readexactly(5)
            writer.write(
                b"HTTP/1.1 201 Made\r\nX-A: 1\r\nx-a: \xff2\r\nConnection: x\r\nContent-Length: 5\r\n\r\n" + body
            )

    async with machine(serve) as made:
        for _ in range(3):
            sent = request("POST", b"/a%20b/../c?q=%00&q", b"he", b"llo", length=5, x_trace=b"1")
            async with made.way.exchange(sent) as answer:
                assert answer.status == 201
                assert list(answer.headers) == [(b"x-a", b"1"), (b"x-a", b"\xff2"), (b"content-length", b"5")]
                assert await whole(answer.body) == b"hello"
        assert heads[0].startswith(b"POST /a%20b/../c?q=%00&q HTTP/1.1\r\n")
        assert b"host: service.example\r\n" in heads[0]
        assert b"x-trace: 1\r\n" in heads[0]
        assert b"content-length: 5\r\n" in heads[0]
        assert made.connections == 1, "it is kept"


async def test_a_body_of_unknown_length_is_chunked_and_read_while_the_answer_comes() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        while size := int(await reader.readline(), 16):
            chunk = (await reader.readexactly(size + 2))[:-2]
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk.upper()))
        writer.write(b"0\r\n\r\n")

    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def body() -> AsyncIterator[bytes]:
        while chunk := await heard.get():
            yield chunk

    async with machine(serve) as made:
        sent = ForwardedRequest("POST", b"/", [(b"host", b"x")], body(), None)
        async with made.way.exchange(sent) as answer:
            for word in (b"one", b"two"):  # the answer to a part is there before the next one is sent
                heard.put_nowait(word)
                assert await anext(answer.body) == word.upper()
            heard.put_nowait(b"")
            assert await whole(answer.body) == b""


async def test_events_arrive_one_by_one_and_a_client_that_leaves_cancels_the_request() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(OK + b"Content-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        writer.write(b"data: 1\n\n")
        await reader.readexactly(1)  # the end of the connection

    async with machine(serve) as made:
        async with made.way.exchange(request()) as answer:
            assert await anext(answer.body) == b"data: 1\n\n"
            assert not made.closed.is_set()
        await asyncio.wait_for(made.closed.wait(), 20)
        await until(lambda: made.requests.running == 0, failure="it still runs")


async def test_a_client_that_leaves_before_the_answer_cancels_the_request() -> None:
    asked = asyncio.Event()

    async def serve(reader: Reader, _writer: Writer) -> None:
        await head_of(reader)
        asked.set()
        await reader.readexactly(1)

    async with machine(serve) as made:

        async def ask() -> None:
            async with made.way.exchange(request()):
                pytest.fail("answered")

        task = asyncio.create_task(ask())
        await asyncio.wait_for(asked.wait(), 20)
        task.cancel()
        await asyncio.wait_for(made.closed.wait(), 20)


@pytest.mark.parametrize("method", ["HEAD", "GET", "DELETE"])
async def test_answers_without_a_body_end_and_keep_the_connection(method: str) -> None:
    status = {"HEAD": b"200 OK\r\nContent-Length: 10", "GET": b"304 Not Modified", "DELETE": b"204 No Content"}

    async def serve(reader: Reader, writer: Writer) -> None:
        while True:
            await head_of(reader)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 " + status[method] + b"\r\n\r\n")

    async with machine(serve) as made:
        for _ in range(2):
            async with made.way.exchange(request(method)) as answer:
                assert await whole(answer.body) == b""
        assert made.connections == 1


async def test_a_large_answer_waits_for_a_slow_reader() -> None:
    sent = 0

    async def serve(reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await head_of(reader)
        writer.write(OK + b"Content-Length: 1073741824\r\n\r\n")
        for _ in range(1024):
            writer.write(bytes(1 << 20))
            await writer.drain()
            sent += 1

    async with machine(serve) as made, made.way.exchange(request()) as answer:
        assert await anext(answer.body)
        async with made.way.exchange(request()) as other:  # not held up by it
            assert await anext(other.body)
        assert sent < 100
        received = 0
        while received < 64 << 20:
            received += len(await anext(answer.body))


# ── bad servers ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02 what is this\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        OK + b"".join(b"x-%d: y\r\n" % n for n in range(40_000)) + b"\r\n",
        OK + b"".join(b"x: y\r\n" for _ in range(300)) + b"\r\n",
    ],
    ids=["binary", "ssh", "status", "negative", "two lengths", "no header", "long header", "flood", "many"],
)
async def test_what_is_no_http_is_nonsense_and_the_next_request_is_served(garbage: bytes) -> None:
    served = 0

    async def serve(reader: Reader, writer: Writer) -> None:
        nonlocal served
        await head_of(reader)
        served += 1
        writer.write(garbage if served == 1 else OK + b"Content-Length: 0\r\n\r\n")
        await writer.drain()

    async with machine(serve) as made:
        with pytest.raises(ServerNonsense):
            async with made.way.exchange(request()):
                pytest.fail("answered")
        async with made.way.exchange(request()) as answer:
            assert answer.status == 200


async def test_a_server_that_is_not_there_has_not_seen_the_request() -> None:
    async def serve(_reader: Reader, _writer: Writer) -> None: ...

    async with machine(serve, port=1) as made:
        with pytest.raises(MachineLost, match="nothing answers on port 1") as caught:
            async with made.way.exchange(request("POST", b"/", b"x", length=1)):
                pytest.fail("answered")
        assert caught.value.unsent


async def test_a_server_that_ends_without_an_answer_may_have_seen_it() -> None:
    async def serve(reader: Reader, _writer: Writer) -> None:
        await head_of(reader)

    async with machine(serve) as made:
        with pytest.raises(MachineLost, match="without an answer") as caught:
            async with made.way.exchange(request("POST", b"/", length=0)):
                pytest.fail("answered")
        assert not caught.value.unsent
        assert not caught.value.answered


@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n64\r\n"])
async def test_a_body_that_breaks_off_is_no_whole_answer(framing: bytes) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(OK + framing + b"half")
        await writer.drain()

    async with machine(serve) as made, made.way.exchange(request()) as answer:
        assert await anext(answer.body) == b"half"
        with pytest.raises(MachineLost) as caught:
            await anext(answer.body)
        assert caught.value.answered


async def test_a_body_up_to_the_end_of_the_connection_is_whole() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    async with machine(serve) as made, made.way.exchange(request()) as answer:
        assert await whole(answer.body) == b"all of it"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_that_the_server_closed_is_no_lost_request(method: str) -> None:
    """The server closes just when the second request comes: it is sent again where that is allowed."""
    served = 0

    async def serve(reader: Reader, writer: Writer) -> None:
        nonlocal served
        await head_of(reader)
        served += 1
        writer.write(OK + b"Content-Length: 0\r\n\r\n")
        await head_of(reader)

    async with machine(serve) as made:
        async with made.way.exchange(request(method)) as answer:
            assert await whole(answer.body) == b""
        if method == "POST":
            with pytest.raises(MachineLost):
                async with made.way.exchange(request(method)):
                    pytest.fail("answered")
            return
        async with made.way.exchange(request(method)) as answer:
            assert answer.status == 200
        assert served == 2


async def test_an_answer_before_the_body_was_sent_arrives() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        await writer.drain()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(100_000)

    async with machine(serve) as made:
        sent = ForwardedRequest("POST", b"/", [(b"host", b"x")], endless(), None)
        async with made.way.exchange(sent) as answer:
            assert answer.status == 413
            assert await whole(answer.body) == b"big"


# ── the client, the machine, the limit ───────────────────────────────────────────────────────────────────────────────


async def test_a_clients_body_that_fails_ends_the_request_with_its_own_error() -> None:
    class TooSlow(Exception): ...

    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        raise TooSlow

    async def serve(reader: Reader, _writer: Writer) -> None:
        await head_of(reader)
        while await reader.read(100):
            pass
        raise ConnectionError

    async with machine(serve) as made:
        with pytest.raises(TooSlow):
            async with made.way.exchange(ForwardedRequest("POST", b"/", [(b"host", b"x")], body(), None)):
                pytest.fail("answered")
        await asyncio.wait_for(made.closed.wait(), 20)


async def test_a_tunnel_that_breaks_in_mid_body_says_what_has_happened_and_cancels_at_the_server() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await head_of(reader)
        writer.write(OK + b"Content-Length: 100\r\n\r\nhalf")
        await reader.readexactly(1)

    async with machine(serve) as made:
        async with made.way.exchange(request()) as answer:
            assert await anext(answer.body) == b"half"
            made.wire.cut()
            with pytest.raises(MachineLost) as caught:
                await anext(answer.body)
            assert caught.value.answered
        await asyncio.wait_for(made.closed.wait(), 20)
        with pytest.raises(MachineLost) as caught:
            async with made.way.exchange(request()):
                pytest.fail("answered")
        assert caught.value.unsent


async def test_requests_beyond_the_limit_wait_at_the_worker_and_a_drain_finishes_what_runs() -> None:
    at_once = most = 0
    free = asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        nonlocal at_once, most
        while True:
            await head_of(reader)
            at_once += 1
            most = max(most, at_once)
            await free.wait()
            at_once -= 1
            writer.write(OK + b"Content-Length: 2\r\n\r\nok")

    async def ask() -> bytes:
        async with made.way.exchange(request()) as answer:
            return await whole(answer.body)

    async with machine(serve, concurrency=2) as made:
        asked = [asyncio.create_task(ask()) for _ in range(5)]
        await until(lambda: made.requests.running == 5 and at_once == 2, failure="not all have come")
        draining = asyncio.create_task(made.requests.drain(60))
        await asyncio.sleep(0)
        with pytest.raises(MachineLost) as caught:
            await ask()
        assert caught.value.unsent
        free.set()
        assert await asyncio.gather(*asked) == [b"ok"] * 5
        await draining
        assert most == 2


async def test_a_header_that_would_be_two_is_sent_to_no_server() -> None:
    async def serve(_reader: Reader, _writer: Writer) -> None:
        pytest.fail("connected")

    async with machine(serve) as made:
        with pytest.raises(ServerNonsense, match="cannot be sent"):
            async with made.way.exchange(request(x_evil=b"a\r\nx-more: 1")):
                pytest.fail("answered")
