"""The entry point: a wrong environment, and a machine that destroys itself when its agent has ended."""

from __future__ import annotations

import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.polling import until
from tests.workers.agents import WAIT, agent, exit_of, in_the_handler
from tests.workers.control_plane import StubControlPlane, served, shell
from tests.workers.processes import alive, descendants
from tests.workers.slaying_apis import OneInstanceApi, destroyed
from workers.lifecycle import Exit


@pytest.mark.parametrize(
    ("name", "value"),
    [("YURT_URL", "ftp://x"), ("YURT_TOKEN", ""), ("YURT_LOG", "xml"), ("YURT_WORK_DIR", "/dev/null/x")],
)
async def test_a_wrong_environment_is_reported_in_one_line(name: str, value: str, tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.url = "http://127.0.0.1:1"
    async with agent(plane, tmp_path, **{name: value}) as process:
        code, log = await exit_of(process)
    assert code == Exit.SETTINGS
    assert log.startswith(f"yurt worker: {name} ")
    assert log.count("\n") == 1


# ── a machine that was minted to slay itself ─────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def minted(
    plane: StubControlPlane, tmp_path: Path, **environment: str
) -> AsyncIterator[tuple[OneInstanceApi, Process]]:
    """The process of a worker on a rented machine, and that machine."""
    api = OneInstanceApi()
    async with api.serving() as url, agent(plane, tmp_path, **{**api.variables(url), **environment}) as process:
        yield api, process


async def code_after_destruction(api: OneInstanceApi, process: Process) -> tuple[int, str]:
    """Exit code and log once the machine is destroyed, which ends with SIGTERM for all of its processes."""
    await destroyed(api)
    process.terminate()
    code, log = await exit_of(process)
    assert api.key not in log
    return code, log


async def test_a_rented_machine_goes_when_its_agent_is_idle(tmp_path: Path) -> None:
    async with served(StubControlPlane(idle_seconds=0.2)) as plane, minted(plane, tmp_path) as (api, process):
        assert (await code_after_destruction(api, process))[0] == Exit.LEFT


async def test_a_rented_machine_goes_when_its_agent_has_drained(tmp_path: Path) -> None:
    async with served(StubControlPlane()) as plane, minted(plane, tmp_path) as (api, process):
        await plane.until(lambda: plane.of_kind("ask"))
        assert api.there
        process.terminate()
        assert (await code_after_destruction(api, process))[0] == Exit.LEFT


async def test_a_rented_machine_goes_when_its_control_plane_is_gone(tmp_path: Path) -> None:
    plane = StubControlPlane(orphan_seconds=1.0)
    async with minted_after(plane, tmp_path) as (api, process):
        assert (await code_after_destruction(api, process))[0] == Exit.ORPHANED


@asynccontextmanager
async def minted_after(plane: StubControlPlane, tmp_path: Path) -> AsyncIterator[tuple[OneInstanceApi, Process]]:
    """A worker whose control plane has just gone."""
    port = 0
    async with served(plane):
        port = int(plane.url.rpartition(":")[2])
    async with minted(plane, tmp_path) as (api, process):
        async with served(plane, port):
            await plane.until(lambda: plane.of_kind("ask"))
        yield api, process


async def test_a_rented_machine_goes_when_its_token_is_refused(tmp_path: Path) -> None:
    wrong = {"YURT_TOKEN": "wrong-token-0123456789"}
    async with served(StubControlPlane()) as plane, minted(plane, tmp_path, **wrong) as (api, process):
        assert (await code_after_destruction(api, process))[0] == Exit.REFUSED


async def test_a_rented_machine_goes_when_its_environment_is_wrong(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.url = "ftp://x"
    async with minted(plane, tmp_path) as (api, process):
        code, log = await code_after_destruction(api, process)
        assert (code, "YURT_URL is not" in log) == (Exit.SETTINGS, True)


async def test_a_rented_machine_goes_when_its_agent_is_killed_in_the_middle_of_its_work(tmp_path: Path) -> None:
    async with served(StubControlPlane()) as plane, minted(plane, tmp_path) as (api, process):
        gate = tmp_path / "gate"
        plane.offer("a", shell(WAIT, str(gate)))
        handler = await in_the_handler(gate)
        inner = next(pid for pid in descendants(process.pid) if os.getpgid(pid) == os.getpgid(process.pid))
        assert Path(f"/proc/{inner}/oom_score_adj").read_text() == "500\n"
        assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() != "500\n"
        os.kill(inner, signal.SIGKILL)
        code, log = await code_after_destruction(api, process)
        assert (code, '"agent_exit": 137' in log) == (128 + signal.SIGKILL, True)
        await until(lambda: not alive(handler))


async def test_a_machine_that_cannot_slay_itself_says_so_and_works(tmp_path: Path) -> None:
    async with served(StubControlPlane(idle_seconds=0.2)) as plane, minted(plane, tmp_path, CONTAINER_ID="") as (_, it):
        code, log = await exit_of(it)
        assert (code, "this machine cannot slay itself: CONTAINER_ID is missing" in log) == (Exit.LEFT, True)


async def test_a_machine_that_yurt_did_not_mint_stays(tmp_path: Path) -> None:
    plane = StubControlPlane(idle_seconds=0.2)
    async with served(plane), minted(plane, tmp_path, YURT_SLAYS_ITSELF="") as (api, process):
        assert (await exit_of(process))[0] == Exit.LEFT
        assert (api.there, api.requests) == (True, [])
