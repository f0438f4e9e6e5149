"""Empty notifications to a control plane, and to what is none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.stream_server import stream_server
from tests.webhook.plane import WEBHOOK, configured, control_plane
from webhook.notification_probe import notification_url, probe_notifications


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that answers every request so; its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with stream_server(handle) as port:
        yield f"http://127.0.0.1:{port}"


async def test_a_control_plane_takes_it_and_records_nothing(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        assert (await probe_notifications(plane.url + "/", WEBHOOK)).outcome == "taken"
        assert not await plane.objects()


async def test_another_secret_is_refused_and_not_shown(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, yurt_webhook_secrets="user:password-1") as plane:
        assert (await probe_notifications(plane.url, "user:password-1")).outcome == "taken"
        refused = await probe_notifications(plane.url, "user:password-2")
        assert (refused.outcome, "password" in refused.message) == ("refused", False)
        assert (await probe_notifications(plane.url, "")).outcome == "refused"


async def test_an_open_webhook_takes_any(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(server={"open_webhook": True})) as plane:
        assert (await probe_notifications(plane.url, "")).outcome == "taken"


async def test_what_is_no_control_plane_is_told_from_silence() -> None:
    for answer in (
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhtml",
        b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 5\r\n\r\nproxy",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000,
        b"HTTP/1.1 308 Permanent Redirect\r\nlocation: https://other\r\ncontent-length: 0\r\n\r\n",
    ):
        async with answering(answer) as url:
            assert (await probe_notifications(url, WEBHOOK)).outcome == "stranger"
    assert (await probe_notifications(url, WEBHOOK)).outcome == "unreachable"
    assert (await probe_notifications("http://[::1", WEBHOOK)).outcome == "unreachable"


def test_the_url_keeps_a_proxys_path() -> None:
    assert notification_url("https://x.example/base/") == "https://x.example/base/v1/notifications/tigris"
