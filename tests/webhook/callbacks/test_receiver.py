"""One request to a receiver: what it is sent, and what its answers mean."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from tests.stream_server import stream_server
from tests.webhook.callbacks.receiving_app import SECRET
from webhook.callbacks.receiver import CallbackReceiver, Reception
from webhook.config import CallbackSettings


@dataclass
class AnsweringSocket:
    """Answers each request with the same bytes, and keeps what came."""

    answer: bytes
    port: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        writer.write(self.answer)
        await writer.drain()


@contextlib.asynccontextmanager
async def answering(
    answer: bytes, url: str = "http://app.test:{port}/hook"
) -> AsyncIterator[tuple[AnsweringSocket, CallbackReceiver]]:
    async def here(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    app = AnsweringSocket(answer)
    async with stream_server(app.serve) as app.port:
        settings = CallbackSettings(url=url.format(port=app.port), allow_private=True)
        receiver = CallbackReceiver(settings, [SECRET], resolve=here)
        try:
            yield app, receiver
        finally:
            await receiver.aclose()


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    ("status", "reception"),
    [
        ("200 OK", Reception.TAKEN), ("204 No Content", Reception.TAKEN), ("302 Found", Reception.FAILED),
        ("400 Bad Request", Reception.FAILED), ("410 Gone", Reception.OFF), ("503 Unavailable", Reception.FAILED),
    ],
)  # fmt: skip
async def test_what_an_answer_means(status: str, reception: Reception) -> None:
    async with answering(answer(status, "location: http://127.0.0.1:1/")) as (app, receiver):
        given = await receiver.send("msg_1", b"{}")
    assert (given.reception, given.status) == (reception, int(status[:3]))
    assert len(app.requests) == 1, "no redirect is followed"


async def test_the_request_names_the_host_and_goes_to_the_checked_address() -> None:
    async with answering(answer("200 OK"), "http://app.test:{port}/hook?app=1") as (app, receiver):
        await receiver.send("msg_1", b"{}")
    [request] = app.requests
    assert request.startswith(b"POST /hook?app=1 HTTP/1.1\r\n")
    assert f"host: app.test:{app.port}\r\n".encode() in request.lower()


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7), ("999999", 3600), ("-1", 0), ("nan", 0), ("soon", 0), ("inf", 0)]
)
async def test_a_receiver_may_say_when_to_come_again(said: str, seconds: float) -> None:
    async with answering(answer("429 Too Many", f"retry-after: {said}")) as (_, receiver):
        assert (await receiver.send("msg_1", b"{}")).retry_after_seconds == seconds


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000) as (_, receiver):
        assert (await receiver.send("msg_1", b"{}")).reception is Reception.TAKEN


@pytest.mark.parametrize("broken", [b"", b"HTTP/1.1 200", b"no HTTP at all\r\n\r\n", b"HTTP/1.1 \xff\r\n\r\n"])
async def test_what_is_no_answer_is_a_failure(broken: bytes) -> None:
    async with answering(broken) as (_, receiver):
        given = await receiver.send("msg_1", b"{}")
    assert given.reception is Reception.FAILED
    assert given.error.startswith("it cannot be reached")


async def test_a_server_without_tls_is_not_spoken_to_in_clear() -> None:
    async with answering(answer("200 OK"), "https://app.test:{port}/") as (app, receiver):
        given = await receiver.send("msg_1", b"{}")
    assert given.reception is Reception.FAILED
    assert app.requests == []


def test_another_url_is_another_receiver() -> None:
    hashes = {CallbackReceiver(CallbackSettings(url=f"https://a.test/{n}"), [SECRET]).url_hash for n in range(2)}
    assert len(hashes) == 2
