"""What an agent makes of its orders: WorkerServices, and the ServedService of each."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.polling import until
from tests.workers.agents import exit_of, running, working
from tests.workers.control_plane import WORKER_TOKEN, StubControlPlane, served
from tests.workers.servers.running import STAND_IN, folder_of, free_port, pid_of
from workers.client import ControlPlaneClient
from workers.models.cache import ModelCache
from workers.models.worker_models import WorkerModels
from workers.protocol import ServiceOrder, ServiceOrders
from workers.servers.all_servers import HandlerServers
from workers.services.worker_services import WorkerServices


def order(name: str = "echo", mode: str = "", **more: Any) -> ServiceOrder:
    port = free_port()
    command = (sys.executable, str(STAND_IN), str(port), mode)
    settings = {"command": command, "port": port, "ready": "/health-check", "ready_status": ("READY",), **more}
    return ServiceOrder.model_validate({"name": name, "start_seconds": 20, **settings})


def states(plane: StubControlPlane) -> list[str]:
    return [report.state for report in plane.reports]


async def is_gone(port: int) -> bool:
    try:
        await pid_of(port)
    except httpx.TransportError:
        return True
    return False


async def test_servers_are_started_replaced_and_stopped_as_ordered(tmp_path: Path) -> None:
    first, second = order(), order()
    plane = StubControlPlane()
    plane.order(first)  # in the welcome
    async with running(tmp_path, plane):
        await plane.until(lambda: "ready" in states(plane))
        before = await pid_of(first.port)
        plane.order(first, order("other"))
        await plane.until(lambda: plane.seen("report", "other", "ready"))
        assert await pid_of(first.port) == before, "an order that is the same is for the same process"
        plane.order(second)
        await until(lambda: is_gone(first.port), failure="it was not ended")
        await until(lambda: _is_there(second.port), failure="it was not started")
        plane.order()
        await until(lambda: is_gone(second.port), failure="it was not ended")


async def _is_there(port: int) -> bool:
    return not await is_gone(port)


async def test_an_agent_that_serves_stays_and_one_that_does_no_more_leaves(tmp_path: Path) -> None:
    plane = StubControlPlane(idle_seconds=0.5)
    plane.order(order())
    async with working(tmp_path, plane) as (_, process):
        await plane.until(lambda: "ready" in states(plane))
        asked = len(plane.of_kind("ask"))
        await plane.until(lambda: len(plane.of_kind("ask")) > asked + 3)
        assert process.returncode is None
        plane.order()
        code, _ = await exit_of(process)
        assert code == 0


async def test_a_signal_ends_the_server_with_the_agent(tmp_path: Path) -> None:
    plane, ordered = StubControlPlane(), order()
    plane.order(ordered)
    async with working(tmp_path, plane) as (_, process):
        await plane.until(lambda: "ready" in states(plane))
        process.terminate()
        code, _ = await exit_of(process)
        assert code == 0
        assert await is_gone(ordered.port)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("print('no weights for you'); raise SystemExit(3)", "exit status 3"),
        ("print('no weights for you', flush=True); import time; time.sleep(600)", "not ready after 1 s"),
    ],
)
async def test_a_server_that_does_not_become_ready_is_reported_with_the_end_of_its_log(
    tmp_path: Path, script: str, says: str
) -> None:
    plane = StubControlPlane()
    plane.order(order(command=(sys.executable, "-c", script), start_seconds=1))
    async with running(tmp_path, plane):
        await plane.until(lambda: "failing" in states(plane))
        failing = next(report for report in plane.reports if report.state == "failing")
        assert says in failing.message
        assert failing.log == "no weights for you"
        assert "ready" not in states(plane)


async def test_cogs_server_works_in_the_folder_of_its_image(tmp_path: Path) -> None:
    own, image, other = (tmp_path / name for name in ("own", "image", "other"))
    for folder in (own, image, other):
        folder.mkdir()
    cog, placed, plain = order("cog", kind="cog"), order("placed", kind="cog", folder=str(other)), order("plain")
    async with served(StubControlPlane()) as plane, ControlPlaneClient(plane.url, WORKER_TOKEN) as client:
        models, servers = WorkerModels(ModelCache(tmp_path / "cache", None), client), HandlerServers(own, None, image)
        services = WorkerServices(models, servers, client)
        services.accept(ServiceOrders(digest="a", orders=(cog, placed, plain)))
        await plane.until(lambda: states(plane).count("ready") >= 3)
        assert [await folder_of(each.port) for each in (cog, placed)] == [image, other]
        assert (await folder_of(plain.port)).parent == own
        await services.aclose()
        await servers.aclose()
        await models.aclose()


async def test_a_server_works_in_the_folder_of_its_order_and_a_missing_one_is_reported(tmp_path: Path) -> None:
    plane, folder = StubControlPlane(), tmp_path / "src"
    ordered = order(folder=str(folder))
    plane.order(ordered)
    async with running(tmp_path, plane):
        await plane.until(lambda: "failing" in states(plane))
        assert f"started in {folder}, and this machine has no such folder" in plane.reports[-1].message
        folder.mkdir()
        await plane.until(lambda: "ready" in states(plane))
        assert await folder_of(ordered.port) == folder


async def test_a_server_that_has_ended_is_reported_and_started_again(tmp_path: Path) -> None:
    plane, ordered = StubControlPlane(), order()
    plane.order(ordered)
    async with running(tmp_path, plane):
        await plane.until(lambda: "ready" in states(plane))
        await _kill(await pid_of(ordered.port))
        await plane.until(lambda: states(plane)[-1] == "ready" and "failing" in states(plane))
        assert "ended with exit status" in next(r.message for r in plane.reports if r.state == "failing")


async def _kill(pid: int) -> None:
    process = await asyncio.create_subprocess_exec("kill", "-9", str(pid))
    await process.wait()


@pytest.mark.parametrize(
    "more", [{"command": ("serve", "{model:weights}")}, {"environment": {"WEIGHTS": "{model:weights}"}}]
)
async def test_a_command_or_variable_with_no_model_of_the_service_says_so(tmp_path: Path, more: dict[str, Any]) -> None:
    plane = StubControlPlane()
    plane.order(order(**more))
    async with running(tmp_path, plane):
        await plane.until(lambda: "failing" in states(plane))
        assert "{model:weights}" in plane.reports[-1].message
