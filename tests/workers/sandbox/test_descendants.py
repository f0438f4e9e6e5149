"""A child is killed with all that it started."""

from __future__ import annotations

import asyncio
import subprocess

from tests.polling import until
from tests.workers.processes import alive
from tests.workers.sandbox.jobs import JobFolder, python, run, sandbox
from workers.sandbox.descendants import kill


async def test_a_fork_bomb_dies_with_its_group(folder: JobFolder) -> None:
    job = folder.job()
    pids = job.output / "pids"
    async with sandbox() as pool:
        task = asyncio.create_task(run(pool, python("fork_bomb"), job))
        await until(lambda: pids.exists() and len(pids.read_text().split()) == 64)
        task.cancel()
        await asyncio.wait([task])
    await until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


async def test_a_group_is_killed_whole() -> None:
    shell = "sleep 3600 & sleep 3600 & echo $! ; wait"
    with subprocess.Popen(["sh", "-c", shell], start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        last = int(process.stdout.readline())
        kill(process.pid)
    await until(lambda: not alive(last))


def test_killing_what_is_gone_is_no_error() -> None:
    with subprocess.Popen(["true"], start_new_session=True) as process:
        pass
    kill(process.pid)
