"""Runs agents against the stub control plane: in the test's own process, or in one of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.polling import until
from tests.workers.control_plane import ONE_TIME_TOKEN, TIMEOUT_SECONDS, StubControlPlane, served
from workers.beginning import run_agent
from workers.concurrency import end
from workers.dispatcher import DispatcherSettings
from workers.manifest import Manifest
from workers.protocol import Lease
from workers.settings import Settings

WAIT = 'echo $$ > "$1.pid"; while [ ! -e "$1" ]; do sleep 0.02; done; cp "$0" copy.txt'
"""A command that writes its process id to ``$1.pid`` and publishes its input once ``$1`` exists."""


@contextlib.asynccontextmanager
async def running(
    tmp_path: Path,
    plane: StubControlPlane | None = None,
    settings: DispatcherSettings | None = None,
    handlers: Path | None = None,
) -> AsyncIterator[StubControlPlane]:
    """An agent in this process; its handlers run in child processes all the same."""
    plane = plane or StubControlPlane()
    async with served(plane):
        agent_settings = Settings(plane.url, ONE_TIME_TOKEN, tmp_path, handlers, cache_dir=tmp_path / "cache")
        task = asyncio.create_task(run_agent(agent_settings, settings))
        try:
            await plane.until(lambda: plane.of_kind("ask") or task.done())
            yield plane
        finally:
            await end([task])


@contextlib.asynccontextmanager
async def working(
    tmp_path: Path, plane: StubControlPlane | None = None, **environment: str
) -> AsyncIterator[tuple[StubControlPlane, Process]]:
    """An agent in a process of its own, for tests of signals, exit codes and logs."""
    plane = plane or StubControlPlane()
    async with served(plane), agent(plane, tmp_path, **environment) as process:
        await plane.until(lambda: plane.of_kind("ask"))
        yield plane, process


@contextlib.asynccontextmanager
async def agent(
    plane: StubControlPlane, work_dir: Path, *, wrapper: Sequence[str] = (), **environment: str
) -> AsyncIterator[Process]:
    """The process of an agent, executed by ``wrapper``. It is killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *wrapper,
        sys.executable,
        "-m",
        "workers",
        stderr=PIPE,
        env=_environment(plane, work_dir) | environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def exit_of(process: Process) -> tuple[int, str]:
    """Wait for an agent that leaves by itself; return its exit code and log."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        _, log = await process.communicate()
    assert process.returncode is not None
    return process.returncode, log.decode()


def handler_pid(gate: Path) -> int:
    """The process id of the ``WAIT`` command with this gate; 0 when it has not started."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"{gate}.pid").read_text())
    return 0


async def in_the_handler(gate: Path) -> int:
    """Wait until the ``WAIT`` command with this gate has started; return its process id."""
    return await until(lambda: handler_pid(gate))


def manifest(plane: StubControlPlane, lease: Lease) -> Manifest:
    """The manifest that was published for a lease."""
    return Manifest.decode(plane.store[f"out/{lease.key}/result.json"].data)


def _environment(plane: StubControlPlane, work_dir: Path) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return inherited | {
        "YURT_URL": plane.url,
        "YURT_TOKEN": ONE_TIME_TOKEN,
        "YURT_WORK_DIR": str(work_dir),
        "YURT_CACHE_DIR": str(work_dir / "cache"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
