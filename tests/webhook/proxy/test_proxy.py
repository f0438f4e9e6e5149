"""Services that an app deploys: they come, change and go while requests are under way."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.polling import until
from tests.webhook.proxy.serving import Serving, services_at, with_services
from tests.webhook.proxy.standin import standing_in


async def deploy(s: Serving, **services: dict[str, Any]) -> list[dict[str, Any]]:
    body = {"app": "models", "definitions": {"services": services}}
    answer = await s.plane.admin("POST", "/v1/deployments", json=body)
    assert answer.status_code == 200, answer.text
    changed: list[dict[str, Any]] = answer.json()["changes"]
    return changed


async def test_services_are_deployed_changed_and_removed_while_yurt_runs(postgres_dsn: str) -> None:
    async with services_at(postgres_dsn, with_services()) as s, standing_in() as server:
        worker = await s.machine()
        assert (await s.ask("GET", "/services/echo/")).status_code == 404
        [added] = await deploy(s, echo={"port": 5000})
        assert (added["kind"], added["name"], added["change"]) == ("services", "echo", "added")

        async def is_there() -> bool:
            return "echo" in s.plane.services.proxy.queues

        await until(is_there)
        asked = asyncio.create_task(s.ask("GET", "/services/echo/a"))
        assert (await s.given(worker)).port == 5000
        await s.ready(worker, server)
        assert (await asked).json()["target"] == "/a"

        under_way = asyncio.create_task(s.ask("GET", "/services/echo/wait"))
        await until(lambda: server.under_way == 1)
        await deploy(s, echo={"port": 5001, "hosts": ["echo.localhost"], "public": True})
        await until(lambda: s.plane.services.proxy.queues["echo"].settings.port == 5001)
        assert (await s.given(worker)).port == 5001, "the worker is told"
        waiting = asyncio.create_task(s.ask("GET", "/wait", headers={"host": "echo.localhost"}))
        await until(lambda: s.load() == (1, 1))

        [removed] = await deploy(s)
        assert removed["change"] == "removed"
        assert ((await waiting).status_code, (await waiting).json()["error"]) == (503, "no-machine")
        assert (await s.ask("GET", "/services/echo/")).status_code == 404
        assert 'service="echo"} 1.0' not in (await s.plane.http.get("/metrics")).text.partition("yurt_service_in")[2]
        server.let_go.set()
        assert (await under_way).status_code == 200, "what runs is finished"
        await until(lambda: "echo" not in s.plane.services.proxy.queues)
