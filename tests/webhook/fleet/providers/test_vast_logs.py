"""Logs are fetched by https from public addresses, or from the API's own origin, and no further than a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.stream_server import stream_server
from webhook.fleet.providers import ProviderError
from webhook.fleet.providers.vast_logs import fetch_log


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that gives these answers, the last for ever, and the heads of the requests that it got."""
    heads: list[str] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    async with stream_server(serve) as port:
        yield f"http://127.0.0.1:{port}", heads


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


NOT_YET = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def test_a_log_that_is_not_written_yet_is_waited_for() -> None:
    async with answering(NOT_YET, NOT_YET, ok(b"out of memory\n")) as (url, heads):
        assert await fetch_log(f"{url}/log", url, seconds=5, pause_seconds=0.01) == "out of memory"
        assert len(heads) == 3
        assert "authorization" not in heads[0].lower()


async def test_a_log_that_never_comes_is_none() -> None:
    async with answering(NOT_YET) as (url, heads):
        assert await fetch_log(f"{url}/log", url, seconds=5, pause_seconds=0.01) == ""
        assert len(heads) == 6


async def test_only_the_end_of_a_log_is_kept_and_of_a_long_one_the_beginning_is_read() -> None:
    async with answering(ok(b"x" * 3_000 + b"end"), ok(b"y" * (3 << 20))) as (url, _):
        assert (await fetch_log(f"{url}/log", url, seconds=5)).endswith("xend")
        assert await fetch_log(f"{url}/log", url, seconds=5) == "y" * 2_000


async def test_a_redirect_is_not_followed() -> None:
    async with answering(ok(b"secret")) as (inside, asked):
        moved = f"HTTP/1.1 302 Found\r\nLocation: {inside}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        async with answering(moved.encode()) as (url, _):
            assert await fetch_log(f"{url}/log", url, seconds=5, pause_seconds=0.01) == ""
        assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/log",
        "https://127.0.0.1/log",
        "https://localhost/log",
        "https://169.254.169.254/latest/meta-data",
        "https://10.1.2.3/log",
        "https://[::1]/log",
        "https://[::ffff:10.0.0.1]/log",
        "https://no-such-host.invalid/log",
        "file:///etc/passwd",
        "https://[::1",
        "https://a:99999999/",
        "",
    ],
)
async def test_an_address_that_is_not_public_is_not_fetched(url: str) -> None:
    with pytest.raises(ProviderError, match="the log's address"):
        await fetch_log(url, "https://console.vast.ai/api", seconds=1)


async def test_a_host_that_cannot_be_reached_is_an_error() -> None:
    async with answering(NOT_YET) as (url, _):
        pass
    with pytest.raises(ProviderError, match="cannot be fetched"):
        await fetch_log(f"{url}/log", url, seconds=1)
