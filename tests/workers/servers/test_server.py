"""A server is started once, is waited for, and ends with its agent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from tests.polling import until, wait_until
from tests.workers.processes import alive
from tests.workers.servers.running import STAND_IN, environment_of, folder_of, free_port, pid_of, server, stand_in
from workers.handlers import HandlerUnavailable
from workers.handlers.http.options import HttpOptions
from workers.servers.server import HandlerServer


async def test_it_is_ready_when_it_says_so_and_started_once_for_all_slots(tmp_path: Path) -> None:
    options = stand_in("slow")
    one = HandlerServer(HttpOptions.model_validate(options), tmp_path, None)
    try:
        await asyncio.gather(*(one.ready() for _ in range(4)))
        first = await pid_of(options["port"])
        await one.ready()
        assert await pid_of(options["port"]) == first
    finally:
        await one.aclose()
    await until(lambda: not alive(first))


async def test_one_that_died_is_started_again(tmp_path: Path) -> None:
    options = stand_in()
    one = HandlerServer(HttpOptions.model_validate(options), tmp_path, None)
    try:
        await one.ready()
        first = await pid_of(options["port"])
        os.kill(first, signal.SIGKILL)

        async def started_again() -> bool:
            await one.ready()
            with contextlib.suppress(httpx.TransportError):
                return await pid_of(options["port"]) != first
            return False

        await until(started_again)
    finally:
        await one.aclose()


@pytest.mark.parametrize(
    ("mode", "more", "said"),
    [
        ("ill", {}, "ended with exit status 1 before it was ready: no CUDA device"),
        ("deaf", {"start_seconds": 0.5}, r"was not ready after 0\.5 s"),
        ("", {"command": ["/no/such/program"]}, "cannot be started: No such file"),
        ("", {"command": ["./mine.sh"]}, "YURT_HANDLERS"),
        ("", {"command": []}, "No server is ready on port"),
    ],
)
async def test_one_that_gets_not_ready_says_why_with_its_last_line(
    tmp_path: Path, mode: str, more: dict[str, object], said: str
) -> None:
    async with server(tmp_path, mode, **more) as one:
        with pytest.raises(HandlerUnavailable, match=said):
            await one.ready()


async def test_it_works_in_the_folder_that_its_options_name_or_in_one_of_its_own(tmp_path: Path) -> None:
    own, named = tmp_path / "own", tmp_path / "named"
    own.mkdir()
    named.mkdir()
    for folder, options in ((named, stand_in(folder=str(named))), (own, stand_in())):
        one = HandlerServer(HttpOptions.model_validate(options), own, None)
        try:
            await one.ready()
            assert await folder_of(options["port"]) == folder
        finally:
            await one.aclose()


@pytest.mark.parametrize("name", ["missing", "file", "file/below"])
async def test_one_whose_folder_is_not_there_says_which(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "file").chmod(0o755)
    async with server(tmp_path, folder=str(tmp_path / name)) as one:
        with pytest.raises(HandlerUnavailable, match=rf"started in {tmp_path / name}, and this machine has no such"):
            await one.ready()


async def test_one_that_fails_is_not_started_again_at_once(tmp_path: Path) -> None:
    async with server(tmp_path, "ill") as one:
        with pytest.raises(HandlerUnavailable):
            await one.ready()
        with pytest.raises(HandlerUnavailable, match=r"no CUDA device.*started again in"):
            await one.ready()


async def test_it_gets_no_secret_of_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YURT_TOKEN", "a-secret-of-the-agent")
    options = stand_in(environment={"YURT_MINE": "x"})
    one = HandlerServer(HttpOptions.model_validate(options), tmp_path, tmp_path)
    try:
        await one.ready()
        assert await environment_of(options["port"]) == {"YURT_MINE": "x", "YURT_HANDLERS": str(tmp_path)}
    finally:
        await one.aclose()


AGENT = """
import asyncio, sys
from pathlib import Path
from workers.handlers.http.options import HttpOptions
from workers.servers.server import HandlerServer

async def main():
    port = int(sys.argv[2])
    command = [sys.executable, sys.argv[1], str(port)]
    options = HttpOptions(command=command, port=port, ready="/health-check", body="file")
    await HandlerServer(options, Path(sys.argv[3]), None).ready()
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_it_ends_with_an_agent_that_is_killed(tmp_path: Path) -> None:
    port = free_port()
    agent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(AGENT), str(STAND_IN), str(port), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with agent:
        assert agent.stdout is not None
        assert any(line == "ready\n" for line in agent.stdout)
        pid = int(httpx.get(f"http://127.0.0.1:{port}/process", trust_env=False).json()["pid"])
        agent.kill()
    wait_until(lambda: not alive(pid))
