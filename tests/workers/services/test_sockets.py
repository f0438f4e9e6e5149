from __future__ import annotations

import asyncio

import pytest

from tests.workers.services.answering import Reader, Writer, machine, request
from tests.workers.services.echoing import echoing
from webhook.proxy.exchange import MachineLost, ServerNonsense, SocketClosed, UpgradeRefused

BIG = 3_000_000


async def test_messages_of_any_kind_and_length_go_both_ways() -> None:
    async with echoing() as (made, echo):
        async with made.way.upgrade(request(target=b"/chat?x=%20", x_app=b"1"), ["a"]) as socket:
            assert socket.subprotocol == "a"
            for message in ("text ✓", b"bytes", "", b"", "x" * BIG, bytes(BIG)):
                await socket.send(message)
                assert await socket.receive() == message
            await socket.close(4000, "bye")
            assert await echo.closed == (4000, "bye")
        assert echo.request
        assert echo.request.path == "/chat?x=%20"
        assert echo.request.headers["Host"] == "service.example"
        assert echo.request.headers["X-App"] == "1"


async def test_the_servers_close_arrives_with_its_code() -> None:
    async with echoing() as (made, _), made.way.upgrade(request(), ["a"]) as socket:
        await socket.send("close")
        with pytest.raises(SocketClosed) as caught:
            await socket.receive()
        assert (caught.value.code, caught.value.reason) == (4001, "as you wish")


async def test_a_client_that_leaves_closes_the_servers_side() -> None:
    async with echoing() as (made, echo):
        async with made.way.upgrade(request(), ["a"]) as socket:
            await socket.send("x")
            await socket.receive()
        assert (await asyncio.wait_for(echo.closed, 20))[0] == 1001


async def test_a_tunnel_that_breaks_closes_both_sides() -> None:
    async with echoing() as (made, echo):
        async with made.way.upgrade(request(), ["a"]) as socket:
            made.wire.cut()
            with pytest.raises(MachineLost):
                await socket.receive()
            with pytest.raises(MachineLost):
                await socket.send("x")
        assert (await asyncio.wait_for(echo.closed, 20))[0] == 1001


async def test_a_refusal_arrives_as_the_server_has_answered() -> None:
    async with echoing() as (made, _):
        with pytest.raises(UpgradeRefused) as caught:
            async with made.way.upgrade(request(target=b"/refused"), []):
                pytest.fail("opened")
        assert caught.value.status == 403
        assert caught.value.body == b"no socket for you"


async def test_a_server_that_answers_nonsense_opens_no_socket() -> None:
    async def babble(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"what?\r\n\r\n")

    async with machine(babble) as made:
        with pytest.raises(ServerNonsense):
            async with made.way.upgrade(request(), ["a"]):
                pytest.fail("opened")
    async with machine(babble, port=1) as made:
        with pytest.raises(MachineLost) as caught:
            async with made.way.upgrade(request(), ["a"]):
                pytest.fail("opened")
        assert caught.value.unsent
