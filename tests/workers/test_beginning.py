"""The first handlers' process: started before the agent has loaded itself, and used by it."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.polling import until
from tests.workers.agents import WAIT, agent, exit_of, in_the_handler
from tests.workers.control_plane import ONE_TIME_TOKEN, StubControlPlane, served, shell
from tests.workers.processes import alive, descendants
from workers import beginning, lifecycle
from workers.beginning import Begun, run_agent
from workers.dispatcher import DispatcherSettings
from workers.lifecycle import Exit
from workers.protocol import Done
from workers.sandbox.template import TemplateProcess
from workers.settings import Settings


def templates(pid: int) -> list[int]:
    """The template processes of an agent."""

    def is_template(process: int) -> bool:
        try:
            return b"\0workers.sandbox.child\0" in Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            return False

    direct = {process for process in descendants(pid) if _parent(process) == pid}
    return sorted(filter(is_template, direct))


def _parent(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


_LOADED = """
import asyncio, sys
from pathlib import Path
from workers.beginning import run_agent
from workers.sandbox.template import TemplateProcess
from workers.settings import Settings

async def start(preload, environment):
    print(*sorted({"workers.lifecycle", "workers.protocol", "pydantic", "httpx", "structlog"} & {*sys.modules}))
    raise KeyboardInterrupt

TemplateProcess.start = start
asyncio.run(run_agent(Settings("http://127.0.0.1:1", "t" * 16, Path(sys.argv[1]))))
"""


async def test_it_is_started_before_the_agent_has_loaded_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LOADED, str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, cwd=Path(__file__).parents[2])
    printed, errors = await process.communicate()
    assert b"KeyboardInterrupt" in errors, errors
    assert printed.decode().split() == []


async def test_it_runs_the_first_job(tmp_path: Path) -> None:
    plane = StubControlPlane()
    async with served(plane), agent(plane, tmp_path) as process:
        [first] = await until(lambda: templates(process.pid))
        gate = tmp_path / "gate"
        lease = plane.offer("a", shell(WAIT, str(gate)))
        job = await in_the_handler(gate)
        assert job in descendants(first)
        gate.touch()
        assert isinstance(await plane.settlement(lease), Done)


async def test_none_is_left_where_the_agent_is_refused(tmp_path: Path) -> None:
    plane = StubControlPlane()
    async with served(plane), agent(plane, tmp_path, YURT_TOKEN="wrong-token-0123456789") as process:
        [first] = await until(lambda: templates(process.pid))
        assert (await exit_of(process))[0] == Exit.REFUSED
        assert not alive(first)


async def test_none_is_left_where_the_agent_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Begun] = []

    async def broken(_: Settings, what: Begun, __: DispatcherSettings | None) -> Exit:
        begun.append(what)
        raise ValueError("broken")

    monkeypatch.setattr(lifecycle, "run_begun", broken)
    with pytest.raises(ValueError, match="broken"):
        await run_agent(Settings("http://127.0.0.1:1", "t" * 16, tmp_path))
    [template] = [each.template for each in begun]
    assert template is not None
    async with asyncio.timeout(10):
        assert await template.process.wait() < 0
    assert [*tmp_path.iterdir()] == []


async def test_an_agent_whose_first_one_cannot_be_started_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = TemplateProcess.start
    tries = []

    async def start(preload: tuple[str, ...], environment: dict[str, str]) -> TemplateProcess:
        tries.append(preload)
        if len(tries) == 1:
            raise BlockingIOError("no more processes")
        return await plain(preload, environment)

    monkeypatch.setattr(TemplateProcess, "start", start)
    plane = StubControlPlane()
    async with served(plane):
        task = asyncio.create_task(
            run_agent(Settings(plane.url, ONE_TIME_TOKEN, tmp_path, cache_dir=tmp_path / "cache"))
        )
        lease = plane.offer("a", shell('cp "$0" copy.txt'))
        assert isinstance(await plane.settlement(lease), Done)
        task.cancel()
        await asyncio.wait([task])
    assert tries == [beginning.PRELOAD] * len(tries)
    assert len(tries) > 1
