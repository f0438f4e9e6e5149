from __future__ import annotations

import asyncio

import pytest

from tests.polling import until
from tests.webhook.plane import RunningPlane, control_plane
from webhook.api import http_server
from webhook.api.web_sockets import MAX_EARLY_BYTES

HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def opened(plane: RunningPlane, path: bytes = b"/healthz") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
    writer.write(HANDSHAKE % path)
    return reader, writer


async def test_a_path_without_websockets_says_so_and_the_connection_is_closed(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        reader, writer = await opened(plane)
        answer = await asyncio.wait_for(reader.read(), 20)
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b'"not-found"' in answer
        writer.close()


async def test_a_handshake_that_is_none_is_refused(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
        writer.write((HANDSHAKE % b"/v1/services/echo/tunnel").replace(b"version: 13", b"version: 99"))
        assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_a_client_that_sends_much_before_it_was_let_in_is_cut_off(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = asyncio.Event()

    async def wait(*_: object) -> None:
        await never.wait()

    monkeypatch.setattr("webhook.api.service_tunnel.ServiceTunnelApi.__call__", wait)
    async with control_plane(postgres_dsn) as plane:
        reader, writer = await opened(plane, b"/v1/services/echo/tunnel")
        writer.write(bytes(2 * MAX_EARLY_BYTES))
        with pytest.raises(ConnectionError):  # noqa: PT012 - whichever notices first
            await asyncio.wait_for(reader.readexactly(1), 20)
            raise ConnectionError
        never.set()


async def test_other_upgrades_are_still_ignored(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        sent = (
            (HANDSHAKE % b"/healthz")
            .replace(b"websocket\r\n", b"h2c\r\n")
            .replace(b"Upgrade\r\n", b"Upgrade, close\r\n")
        )
        assert (await plane.exchange(sent)).startswith(b"HTTP/1.1 200 ")


async def test_the_clock_of_the_request_does_not_run_on(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.1)

    async def late(_self: object, _scope: object, _receive: object, send: object) -> None:
        assert callable(send)
        await send({"type": "websocket.accept"})
        await asyncio.sleep(0.3)  # longer than the clock
        await send({"type": "websocket.send", "text": "late"})

    monkeypatch.setattr("webhook.api.service_tunnel.ServiceTunnelApi.__call__", late)
    async with control_plane(postgres_dsn) as plane:
        reader, writer = await opened(plane, b"/v1/services/echo/tunnel")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 101 ")
        assert await asyncio.wait_for(reader.readexactly(6), 20) == b"\x81\x04late"
        writer.close()


async def test_a_client_that_does_not_read_is_given_up(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "WRITE_SECONDS", 0.2)
    ended = asyncio.Event()

    async def flood(_self: object, _scope: object, _receive: object, send: object) -> None:
        assert callable(send)
        try:
            await send({"type": "websocket.accept"})
            while True:
                await send({"type": "websocket.send", "bytes": bytes(1 << 20)})
        except OSError:
            ended.set()

    monkeypatch.setattr("webhook.api.service_tunnel.ServiceTunnelApi.__call__", flood)
    async with control_plane(postgres_dsn) as plane:
        _, writer = await opened(plane, b"/v1/services/echo/tunnel")
        await until(ended.is_set, failure="the server goes on sending")
        writer.close()
