"""Limits on connections: how large and how slow the head of a request may be."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.webhook.plane import WEBHOOK, control_plane, event
from webhook.api import http_server

HEAD = f"POST /v1/notifications/tigris HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {WEBHOOK}\r\n".encode()


async def test_a_head_larger_than_any_credential_is_refused(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        start = b"POST /v1/notifications/tigris HTTP/1.1\r\nhost: x\r\nauthorization: Bearer "
        response = await plane.exchange(start, b"a" * http_server.MAX_HEAD_BYTES)  # of one header, without an end
        assert response.startswith(b"HTTP/1.1 431 ")
        response = await plane.exchange(b"GET /" + b"a" * (http_server.MAX_HEAD_BYTES + 1))
        assert response.startswith(b"HTTP/1.1 431 ")
        assert (await plane.http.get("/healthz")).status_code == 200


async def test_endless_trailers_are_hung_up_on(postgres_dsn: str) -> None:
    trailers = [b"t%d: %s\r\n" % (number, b"a" * 1024) for number in range(1000)]
    async with control_plane(postgres_dsn) as plane:
        assert not await plane.exchange(HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", *trailers)


async def test_a_client_that_does_not_finish_its_head_or_body_is_given_up(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr("webhook.api.notifications.ANSWER_SECONDS", 0.2)
    async with control_plane(postgres_dsn) as plane:
        for sent in (b"", HEAD, HEAD + b"content-length: 100\r\n\r\n{"):
            assert (await plane.exchange(sent)).startswith(b"HTTP/1.1 408 "), sent
        response = await plane.exchange(b"POST /v1/leases HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert response.startswith(b"HTTP/1.1 401 ")  # answered early, and hung up when the rest did not come
        assert b"408" not in response


async def test_requests_are_not_hung_up_on_once_their_heads_are_there(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.1)
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        assert not (await worker.ask(wait=0.3)).leases
        body = json.dumps({"events": [event("a.jpg")]}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
        for _ in range(3):  # kept alive in between
            writer.write(HEAD + b"content-length: %d\r\n\r\n" % len(body))
            await asyncio.sleep(0.2)
            writer.write(body)
            assert await asyncio.wait_for(reader.readline(), 10) == b"HTTP/1.1 200 OK\r\n"
            await reader.readuntil(b"}")
            await asyncio.sleep(0.2)
        writer.close()


async def test_empty_lines_between_requests_keep_no_connection_open(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.1)
    async with control_plane(postgres_dsn) as plane:
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
        for _ in range(2):
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert await asyncio.wait_for(reader.readline(), 10) == b"HTTP/1.1 200 OK\r\n"
            await reader.readuntil(b"}")
        writer.write(b"\r\n")
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 408 ")
        writer.close()


OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"


@pytest.mark.parametrize("chunk", [1, 7, 100_000])
async def test_an_offer_of_another_protocol_is_ignored_and_the_body_is_read(postgres_dsn: str, chunk: int) -> None:
    body = json.dumps({"events": [event("a.jpg")]}).encode()
    request = HEAD + OFFER + b"content-length: %d\r\n\r\n" % len(body) + body
    second = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n" + OFFER.replace(b"Upgrade,", b"Upgrade, close,") + b"\r\n"
    async with control_plane(postgres_dsn) as plane:
        sent = request + second  # on one connection
        answers = await plane.exchange(*(sent[start : start + chunk] for start in range(0, len(sent), chunk)))
        assert answers.count(b"HTTP/1.1 200 ") == 2
        assert b'"accepted":1' in answers
        assert set(await plane.objects()) == {"a.jpg"}


async def test_a_chunked_body_behind_an_offer_is_read_too(postgres_dsn: str) -> None:
    body = json.dumps({"events": [event("a.jpg")]}).encode()
    request = HEAD + OFFER + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    async with control_plane(postgres_dsn) as plane:
        closing = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        assert b'"accepted":1' in await plane.exchange(request + closing)


async def test_a_tunnel_is_refused(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        assert (await plane.exchange(b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        assert (await plane.http.get("/healthz")).status_code == 200
