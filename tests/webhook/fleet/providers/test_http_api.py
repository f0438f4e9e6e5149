"""Answers of a provider's API: bounds, deadlines, decimals, and the errors that they become."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from tests.stream_server import stream_server
from webhook.fleet.providers import ProviderBusy, ProviderError, ProviderRefused
from webhook.fleet.providers.http_api import ApiAnswer, JsonApi, parsed, shown

KEY = "account-key-0123456789"


def answered(status: int, text: str = "", headers: Mapping[str, str] | None = None) -> ApiAnswer:
    return ApiAnswer("Vast.ai", status, parsed(text.encode()), text, headers or {}, "check the key")


@asynccontextmanager
async def raw_server(answer: bytes, *, hang: bool = False) -> AsyncIterator[str]:
    """Sends the same bytes to each request, then closes; or holds the connection open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if hang:
            await reader.read()

    async with stream_server(serve) as port:
        yield f"http://127.0.0.1:{port}"


def response(body: str, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", "Connection: close", *headers]
    return "\r\n".join([*head, "", body]).encode()


async def called(url: str, **options: float) -> ApiAnswer:
    api = JsonApi("Vast.ai", url, KEY, seconds=options.get("seconds", 10), limit_bytes=int(options.get("limit", 1000)))
    try:
        return await api.call("GET", "/x")
    finally:
        await api.aclose()


async def test_a_price_is_read_exactly() -> None:
    async with raw_server(response('{"dph_total": 0.1000000000000000055}')) as url:
        answer = await called(url)
    assert answer.object["dph_total"] == Decimal("0.1000000000000000055")
    assert answer.ok


@pytest.mark.parametrize("body", ["not JSON", "NaN", '{"a": Infinity}', "[" * 100_000, "1" * 5000])
def test_what_is_no_json_is_no_value(body: str) -> None:
    assert parsed(body.encode()) is None


async def test_an_answer_that_is_too_long_is_not_read() -> None:
    async with raw_server(response("x" * 5000)) as url:
        with pytest.raises(ProviderError, match="more than 1000 bytes"):
            await called(url)


async def test_a_compressed_answer_is_not_unpacked() -> None:
    async with raw_server(response("\x1f\x8b", "200 OK", "Content-Encoding: gzip")) as url:
        answer = await called(url)
    assert answer.value is None


async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\n", hang=True) as url:
        with pytest.raises(ProviderError, match=r"did not answer within 0\.2 s"):
            await called(url, seconds=0.2)


async def test_a_connection_that_breaks_is_an_error_in_words() -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc") as url:
        with pytest.raises(ProviderError, match="cannot be reached"):
            await called(url)


async def test_a_redirect_is_not_followed() -> None:
    async with raw_server(response("", "307 Temporary Redirect", "Location: http://127.0.0.1:1/")) as url:
        answer = await called(url)
    assert isinstance(answer.error("cannot list"), ProviderRefused)


@pytest.mark.parametrize(
    ("status", "kind", "retry"),
    [
        (400, ProviderRefused, False),
        (401, ProviderRefused, False),
        (403, ProviderRefused, False),
        (404, ProviderRefused, False),
        (408, ProviderError, True),
        (409, ProviderError, True),
        (429, ProviderBusy, True),
        (500, ProviderError, True),
        (503, ProviderBusy, True),
        (200, ProviderError, True),
    ],
)
def test_each_status_is_the_error_that_it_means(status: int, kind: type[ProviderError], retry: bool) -> None:
    error = answered(status, "why").error("cannot rent")
    assert (type(error), error.retry) == (kind, retry)
    assert "why" in str(error)


def test_a_refused_key_says_what_to_do() -> None:
    assert "check the key" in str(answered(401).error("cannot rent"))


@pytest.mark.parametrize(("asked", "seconds"), [("7", 7), ("0", 1), ("3600", 60), ("soon", 10), ("-1", 10)])
def test_an_answer_may_ask_for_a_wait_within_bounds(asked: str, seconds: float) -> None:
    error = answered(429, "slow down", {"retry-after": asked}).error("cannot rent")
    assert isinstance(error, ProviderBusy)
    assert error.retry_seconds == seconds


async def test_no_secret_is_shown() -> None:
    body = json.dumps({"echo": KEY, "token": "one-time-token"})
    async with raw_server(response(body, "400 Bad Request")) as url:
        api = JsonApi("Vast.ai", url, KEY)
        answer = await api.call("PUT", "/x", body={}, secrets=["one-time-token"])
        await api.aclose()
    assert KEY not in f"{answer.error('cannot rent')}{answer.text}"
    assert "one-time-token" not in str(answer.error("cannot rent"))


def test_what_is_shown_is_one_short_line() -> None:
    assert shown(b"a\n\tb\x1b[31mc " + b"d" * 1000, []) == f"a b [31mc {'d' * 290}…"
