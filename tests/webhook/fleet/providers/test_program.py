"""A program runs within its bounds, and none is left where it is given up."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
import uvloop

from tests.polling import until
from tests.webhook.fleet.providers.local_place import ended
from webhook.fleet.providers import ProviderError
from webhook.fleet.providers.program import STDERR_BYTES, ProgramEnd, run_program


async def run(source: str, *, timeout_seconds: float = 60, stdin: bytes = b"") -> ProgramEnd:
    argv = (sys.executable, "-c", source)
    return await run_program(argv, stdin, {}, timeout_seconds=timeout_seconds, stdout_bytes=100_000)


async def test_bytes_go_in_and_come_out() -> None:
    many = b"x" * 100_000
    assert await run("import sys; sys.stdout.write(sys.stdin.read())", stdin=many) == ProgramEnd(0, many, b"")


def test_the_loop_of_a_control_plane_runs_programs_too() -> None:
    """uvloop, whose transports are no subclasses of asyncio's."""
    with asyncio.Runner(loop_factory=uvloop.Loop) as runner:
        assert runner.run(run("import sys; sys.stdout.write(sys.stdin.read())", stdin=b"x")).stdout == b"x"
        with pytest.raises(ProviderError, match="did not end within"):
            runner.run(run("import time; time.sleep(600)", timeout_seconds=0.2))


async def test_a_program_need_not_read_its_stdin() -> None:
    assert (await run("print(1)", stdin=b"x" * 1_000_000)).stdout == b"1\n"


async def test_of_stderr_the_end_is_kept() -> None:
    end = await run("import sys; sys.stderr.write('x' * 1_000_000 + 'the end'); sys.exit(3)")
    assert (end.status, len(end.stderr), end.stderr[-7:]) == (3, STDERR_BYTES, b"the end")


async def test_the_signal_that_killed_it_is_told() -> None:
    assert (await run("import os; os.kill(os.getpid(), 9)")).status == -9


async def test_one_that_prints_for_ever_is_killed() -> None:
    with pytest.raises(ProviderError, match="printed more than 100000 bytes"):
        await run("while True: print('x' * 9999)")


async def test_one_that_cannot_be_started_is_named() -> None:
    with pytest.raises(ProviderError, match="/no/such/program cannot be started: No such file") as caught:
        await run_program(["/no/such/program"], b"", {}, timeout_seconds=9, stdout_bytes=9)
    assert "executable" in caught.value.hint


HANGS = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen(["/bin/sleep", "600"])
draft = pathlib.Path({path!r} + ".new")
draft.write_text(f"{{os.getpid()}} {{child.pid}}")
draft.rename({path!r})
time.sleep(600)
"""


async def test_past_its_deadline_its_whole_group_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(ProviderError, match="did not end within 3 s: killed"):
        await run(HANGS.format(path=str(pids)), timeout_seconds=3)
    for pid in pids.read_text().split():
        await ended(int(pid))


async def test_a_cancelled_run_kills_its_whole_group_first(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    running = asyncio.create_task(run(HANGS.format(path=str(pids))))
    await until(pids.exists)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for pid in pids.read_text().split():
        await ended(int(pid))


async def test_a_run_that_is_cancelled_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    running = asyncio.create_task(run(HANGS.format(path=str(pids))))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    for pid in pids.read_text().split() if pids.exists() else ():
        await ended(int(pid))


async def test_a_process_left_behind_with_its_stdout_is_told() -> None:
    with pytest.raises(ProviderError, match="has ended, and a process that it started holds its stdout") as caught:
        await run("import subprocess; subprocess.Popen(['/bin/sleep', '5'], start_new_session=True)")
    assert "redirect" in caught.value.hint
