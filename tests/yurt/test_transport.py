"""What both transports share: limits, and logs without signatures."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from tests.yurt.answering import answering
from yurt.async_transport import AsyncTransport
from yurt.blocking_transport import BlockingTransport, run_blocking
from yurt.transport import AnswerTooLong, Disconnected, HttpRequest, StreamedAnswer, Transport, read_whole


async def whole(transport: Transport, url: str) -> bytes:
    async with transport.stream(HttpRequest("PUT", url, {}, b"hello")) as answer:
        content = (await read_whole(answer)).content
    await transport.close()
    return content


async def test_no_signature_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with answering((200, b"a")) as (url, received), caplog.at_level(logging.DEBUG):
        presigned = f"{url}/key?X-Amz-Signature=hidden"
        assert run_blocking(whole(BlockingTransport(), presigned)) == b"a"
        assert await whole(AsyncTransport(), presigned) == b"a"
        assert received == [b"hello", b"hello"]
    assert [record.getMessage() for record in caplog.records if "/key " in record.getMessage()]
    assert "hidden" not in caplog.text


@pytest.mark.parametrize("transport", [BlockingTransport, AsyncTransport])
async def test_a_lost_answer_shows_no_url(transport: type[BlockingTransport] | type[AsyncTransport]) -> None:
    with answering((200, b"short", ("content-length", "99"))) as (url, _), pytest.raises(Disconnected) as lost:
        await whole(transport(), f"{url}/key?X-Amz-Signature=hidden")
    assert str(lost.value) == "RemoteProtocolError"
    assert lost.value.__cause__ is None


async def test_an_answer_is_read_up_to_a_limit() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"12345"

    assert (await read_whole(StreamedAnswer(200, {}, chunks()), 15)).content == b"12345" * 3
    with pytest.raises(AnswerTooLong):
        await read_whole(StreamedAnswer(200, {}, chunks()), 14)
