"""The agent as a process: how it starts and ends, its exit codes and its logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

import pytest
from starlette.responses import Response

from tests.polling import until
from tests.workers.agents import WAIT, agent, exit_of, in_the_handler, working
from tests.workers.control_plane import (
    ONE_TIME_TOKEN,
    WORKER_TOKEN,
    StubControlPlane,
    served,
    shell,
)
from tests.workers.processes import alive, descendants
from workers.lifecycle import Exit
from workers.protocol import Done, Released


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(number: int, tmp_path: Path) -> None:
    async with working(tmp_path) as (plane, process):
        gate = tmp_path / "gate"
        placed = plane.offer("placed", shell(WAIT, str(gate)))
        await in_the_handler(gate)
        ahead = plane.offer("ahead")
        await plane.until(lambda: plane.seen("get", "in/ahead"))
        process.send_signal(number)
        assert isinstance(await plane.settlement(ahead), Released)
        assert placed.token not in plane.settled
        waiting = plane.offer("waiting")
        gate.touch()
        assert isinstance(await plane.settlement(placed), Done)
        code, log = await exit_of(process)
        assert code == Exit.LEFT, log
        assert waiting.token not in plane.settled
        assert not plane.seen("lease", "waiting")


async def test_a_second_signal_releases_everything_at_once(tmp_path: Path) -> None:
    async with working(tmp_path) as (plane, process):
        gate = tmp_path / "gate"
        placed = plane.offer("placed", shell(WAIT, str(gate)))
        pid = await in_the_handler(gate)
        ahead = plane.offer("ahead")
        await plane.until(lambda: plane.seen("get", "in/ahead"))
        process.terminate()
        assert isinstance(await plane.settlement(ahead), Released)
        process.terminate()
        assert isinstance(await plane.settlement(placed), Released)
        assert (await exit_of(process))[0] == Exit.LEFT
        assert not alive(pid)


async def test_the_control_plane_drains(tmp_path: Path) -> None:
    async with working(tmp_path) as (plane, process):
        gate = tmp_path / "gate"
        lease = plane.offer("a", shell(WAIT, str(gate)))
        await in_the_handler(gate)
        plane.draining = True
        plane.offer("ignored", data=None)
        gate.touch()
        assert isinstance(await plane.settlement(lease), Done)
        assert (await exit_of(process))[0] == Exit.LEFT


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is a part of Linux")
async def test_an_agent_whose_kernel_cannot_jail_says_so(tmp_path: Path) -> None:
    plane = StubControlPlane()
    wrapper = (sys.executable, str(Path(__file__).with_name("without_landlock.py")))
    async with served(plane), agent(plane, tmp_path, wrapper=wrapper) as process:
        assert isinstance(await plane.settlement(plane.offer("a")), Done)
        assert "the kernel has no landlock" in plane.unjailed
        process.terminate()
        code, log = await exit_of(process)
        assert (code, "handlers are not jailed" in log) == (Exit.LEFT, True)


async def test_an_idle_agent_leaves(tmp_path: Path) -> None:
    async with working(tmp_path, StubControlPlane(idle_seconds=0.5)) as (plane, process):
        lease = plane.offer("a")
        assert isinstance(await plane.settlement(lease), Done)
        code, log = await exit_of(process)
        assert (code, "idle" in log) == (Exit.LEFT, True)


async def test_sigkill_leaves_nothing_running(tmp_path: Path) -> None:
    async with working(tmp_path) as (plane, process):
        gate = tmp_path / "gate"
        plane.offer("a", shell(WAIT, str(gate)))
        pid = await in_the_handler(gate)
        children = descendants(process.pid)
        assert pid in children
        process.kill()
        await until(lambda: not any(alive(child) for child in children))


async def test_the_next_agent_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    async with served(StubControlPlane()) as plane:
        gate = tmp_path / "gate"
        async with agent(plane, tmp_path) as killed:
            plane.offer("a", shell(WAIT, str(gate)))
            await in_the_handler(gate)
            killed.kill()
        litter = set(tmp_path.glob("yurt-agent-*"))
        assert len(litter) == 2
        plane.expect_another_instance()
        async with agent(plane, tmp_path) as process:
            assert isinstance(await plane.settlement(plane.offer("b")), Done)
            assert not litter & set(tmp_path.iterdir())
            process.terminate()
            assert (await exit_of(process))[0] == Exit.LEFT
        assert not list(tmp_path.glob("yurt-agent-*"))


async def test_a_worker_that_is_slain_stops_at_once(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.lease_seconds = 1.0
    async with working(tmp_path, plane) as (_, process):
        gate = tmp_path / "gate"
        plane.offer("a", shell(WAIT, str(gate)))
        pid = await in_the_handler(gate)
        plane.revoked = True
        code, log = await exit_of(process)
        assert (code, "refused" in log) == (Exit.REFUSED, True)
        assert not alive(pid)
        assert not plane.settled


async def test_a_wrong_token_is_sent_once(tmp_path: Path) -> None:
    async with served(StubControlPlane()) as plane:
        async with agent(plane, tmp_path, YURT_TOKEN="wrong-token-0123456789") as process:
            code, log = await exit_of(process)
        assert (code, "the token was used" in log) == (Exit.REFUSED, True)
        assert len(plane.of_kind("hello")) == 1


async def test_of_two_agents_with_one_token_the_second_is_refused(tmp_path: Path) -> None:
    async with working(tmp_path) as (plane, first):
        async with agent(plane, tmp_path) as second:
            assert (await exit_of(second))[0] == Exit.REFUSED
        assert first.returncode is None
        assert isinstance(await plane.settlement(plane.offer("a")), Done)


async def test_hello_is_repeated_until_the_control_plane_is_there(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.faults["POST /v1/workers/hello"] = [Response(status_code=503), Response(status_code=502)]
    async with working(tmp_path, plane):
        assert len(plane.of_kind("hello")) == 3


async def test_a_signal_ends_an_agent_that_has_not_reached_the_control_plane(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.held["POST /v1/workers/hello"] = asyncio.Event()
    async with served(plane), agent(plane, tmp_path) as process:
        await plane.until(lambda: plane.of_kind("hello"))
        process.terminate()
        assert (await exit_of(process))[0] == Exit.LEFT


async def test_the_control_plane_goes_and_comes_back(tmp_path: Path) -> None:
    plane = StubControlPlane()
    gate = tmp_path / "gate"
    async with contextlib.AsyncExitStack() as stack:
        async with served(plane):
            port = int(plane.url.rpartition(":")[2])
            await stack.enter_async_context(agent(plane, tmp_path))
            lease = plane.offer("a", shell(WAIT, str(gate)))
            await in_the_handler(gate)
        gate.touch()  # its result cannot be published: there is no control plane to offer a PUT
        async with served(plane, port):
            assert isinstance(await plane.settlement(lease), Done)
            assert isinstance(await plane.settlement(plane.offer("b")), Done)


async def test_an_orphan_leaves(tmp_path: Path) -> None:
    plane = StubControlPlane(orphan_seconds=2.0)
    gate = tmp_path / "gate"
    async with contextlib.AsyncExitStack() as stack:
        async with served(plane):
            process = await stack.enter_async_context(agent(plane, tmp_path))
            plane.offer("a", shell(WAIT, str(gate)))
            pid = await in_the_handler(gate)
        code, log = await exit_of(process)
        assert (code, "orphaned" in log) == (Exit.ORPHANED, True)
        assert not alive(pid)


async def test_logs_name_the_lease_and_keep_secrets(tmp_path: Path) -> None:
    async with working(tmp_path, YURT_LABEL="yurt-test-1") as (plane, process):
        lease = plane.offer("a")
        await plane.settlement(lease)
        plane.faults["GET /store/in/b"] = [Response(status_code=503) for _ in range(9)]
        await plane.settlement(plane.offer("b"))
        await plane.settlement(plane.offer("c", url="http://127.0.0.1:1/c?X-Amz-Signature=secret"))
        process.terminate()
        _, log = await exit_of(process)
        lines = [json.loads(line) for line in log.splitlines()]
        about = [line for line in lines if line.get("key") == "a"]
        assert len(about) >= 2
        for line in about:
            assert (line["worker"], line["label"], line["pipeline"]) == (7, "yurt-test-1", "photos")
            assert (line["lease"], line["token"]) == (lease.id, lease.token)
        for secret in (ONE_TIME_TOKEN, WORKER_TOKEN, "X-Amz", "secret", "HTTP Request"):
            assert secret not in log


async def test_handlers_see_no_secret_of_the_agent(tmp_path: Path) -> None:
    async with working(tmp_path, AWS_SECRET_ACCESS_KEY="aws-secret") as (plane, _):
        lease = plane.offer("a", shell('env > env.txt; : "$0"'))
        assert isinstance(await plane.settlement(lease), Done)
        environment = plane.store["out/a/env.txt"].data.decode()
        assert "PATH=" in environment
        assert "YURT_TOKEN" not in environment
        assert "aws-secret" not in environment
