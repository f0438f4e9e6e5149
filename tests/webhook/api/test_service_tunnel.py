"""The endpoint of the service tunnel, and a real agent behind it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.polling import until
from tests.webhook.plane import ADMIN
from tests.webhook.proxy.serving import Serving, services_at, with_services
from tests.workers.servers.running import STAND_IN, free_port
from tests.workers.services.answering import answering
from webhook.api import service_tunnel
from workers.beginning import run_agent
from workers.concurrency import end
from workers.settings import Settings
from workers.tunnel.link import LinkLost, TunnelLink
from workers.tunnel.wires import LibraryWire, dial


def served(mode: str = "", **more: Any) -> dict[str, Any]:
    port = free_port()
    command = [sys.executable, str(STAND_IN), str(port), mode]
    return {"command": command, "port": port, "ready": "/health-check", "concurrency": 4, "start_seconds": 30, **more}


@contextlib.asynccontextmanager
async def agent(serving: Serving, folder: Path) -> AsyncIterator[None]:
    settings = Settings(serving.plane.url, await serving.plane.invite(), folder, cache_dir=folder / "cache")
    task = asyncio.create_task(run_agent(settings))
    try:
        yield
    finally:
        await end([task])


def tunnel_of(serving: Serving, service: str = "echo") -> str:
    return f"{serving.plane.url}/v1/services/{service}/tunnel"


async def test_a_request_goes_to_the_server_of_a_real_agent_and_back(postgres_dsn: str, tmp_path: Path) -> None:
    async with services_at(postgres_dsn, with_services(echo=served())) as s, agent(s, tmp_path):
        body = bytes(range(256)) * 8_000
        answer = await s.ask("POST", "/services/echo/echo", content=body, headers={"x-type": "image/png"})
        assert (answer.status_code, answer.content) == (200, body)
        assert answer.headers["content-type"] == "image/png"
        missing = await s.ask("GET", "/services/echo/missing")
        assert missing.status_code == 404
        several = await asyncio.gather(*(s.ask("POST", "/services/echo/echo", content=b"%d" % n) for n in range(20)))
        assert [each.content for each in several] == [b"%d" % n for n in range(20)]


async def test_a_server_that_never_gets_ready_is_told_with_its_log(postgres_dsn: str, tmp_path: Path) -> None:
    script = "print('out of memory', flush=True); raise SystemExit(1)"
    config = with_services(echo=served(command=[sys.executable, "-c", script]))
    async with services_at(postgres_dsn, config) as s, agent(s, tmp_path):
        answer = await s.ask("GET", "/services/echo/")
        assert answer.status_code == 503
        assert "out of memory" in answer.json()["message"]


async def test_only_a_worker_that_serves_the_service_gets_in(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn, with_services(echo={}, other={})) as s:
        worker = await s.machine()
        for token, service, status in (
            ("nobody", "echo", 401), (ADMIN, "echo", 401), (worker.token, "echo", 403), (worker.token, "none", 403),
        ):  # fmt: skip
            with pytest.raises(InvalidStatus) as caught:
                await dial(tunnel_of(s, service), token)
            assert caught.value.response.status_code == status, (token, service)
        asked = asyncio.create_task(s.ask("GET", "/services/echo/"))
        assert (await s.given(worker)).name == "echo"
        with pytest.raises(InvalidStatus) as caught:
            await dial(tunnel_of(s, "other"), worker.token)
        assert caught.value.response.status_code == 403
        async with answering() as requests, dial(tunnel_of(s), worker.token) as connection:
            running = asyncio.create_task(TunnelLink(LibraryWire(connection), requests.opened).run())
            assert (await asked).text == "ok"
            assert worker.id in s.plane.services.proxy.registry.workers("echo")
            await end([running])
        await until(lambda: not s.plane.services.proxy.registry.workers("echo"), failure="the way is kept")


async def test_a_worker_that_is_revoked_or_talks_nonsense_is_cut_off(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_tunnel, "LOOK_SECONDS", 0.05)
    async with services_at(postgres_dsn, with_services(echo={})) as s:
        worker = await s.machine()
        asked = asyncio.create_task(s.ask("GET", "/services/echo/"))
        await s.given(worker)
        async with dial(tunnel_of(s), worker.token) as connection:
            await connection.send(b"nonsense!!")
            assert await _closed(connection) == 1002
        async with dial(tunnel_of(s), worker.token) as connection:
            await connection.send("text")
            assert await _closed(connection) == 1002
        async with dial(tunnel_of(s), worker.token) as connection:
            headers = {"authorization": f"Bearer {ADMIN}"}
            revoked = await s.plane.http.post(f"/v1/workers/{worker.id}/distrust", headers=headers, json={})
            assert revoked.status_code == 200
            assert await _closed(connection) == 1008
        await end([asked])


async def _closed(connection: Any) -> int | None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(connection.recv(), 30)
    code: int | None = connection.close_code
    return code


async def test_connections_of_one_worker_have_a_limit(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn, with_services(echo={})) as s, contextlib.AsyncExitStack() as stack:
        worker = await s.machine()
        asked = asyncio.create_task(s.ask("GET", "/services/echo/"))
        await s.given(worker)
        for _ in range(service_tunnel.MAX_LINKS):
            await stack.enter_async_context(dial(tunnel_of(s), worker.token))
        with pytest.raises(InvalidStatus) as caught:
            await dial(tunnel_of(s), worker.token)
        assert caught.value.response.status_code == 429
        await end([asked])


async def test_a_request_whose_tunnel_breaks_is_sent_over_another_one(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn, with_services(echo={})) as s:
        worker = await s.machine()
        asked = asyncio.create_task(s.ask("GET", "/services/echo/"))
        await s.given(worker)
        async with dial(tunnel_of(s), worker.token) as connection:
            await asyncio.wait_for(connection.recv(), 30)  # the request has come
            async with answering() as requests, dial(tunnel_of(s), worker.token) as other:
                running = asyncio.create_task(TunnelLink(LibraryWire(other), requests.opened).run())
                connection.transport.abort()
                assert (await asked).text == "ok"
                await other.close()
                with pytest.raises(LinkLost):
                    await running


async def test_what_is_no_endpoint_of_websockets_answers_so(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn, with_services(echo={})) as s:
        for path, status in (("/healthz", 404), ("/v1/nothing", 404), ("/services/nothing/", 404)):
            with pytest.raises(InvalidStatus) as caught:
                await connect(s.plane.url.replace("http", "ws") + path, additional_headers=s.headers())
            assert caught.value.response.status_code == status, path
