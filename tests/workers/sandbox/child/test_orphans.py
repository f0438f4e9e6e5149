"""Processes that a handler leaves running."""

from __future__ import annotations

import asyncio

import pytest

from tests.polling import until
from tests.workers.processes import alive
from tests.workers.sandbox.jobs import JobFolder, pid_of, python, run, sandbox


@pytest.mark.parametrize("hang", [False, True])
async def test_daemons_are_found_and_killed(folder: JobFolder, hang: bool) -> None:
    job = folder.job()
    async with sandbox() as pool:
        if hang:
            task = asyncio.create_task(run(pool, python("leave_daemon", {"hang": True}), job))
            await until((job.output / "daemon.txt").exists)
            task.cancel()
            await asyncio.wait([task])
        else:
            await run(pool, python("leave_daemon"), job)
        daemon = int((job.output / "daemon.txt").read_text())
        await until(lambda: not alive(daemon))
        assert await pid_of(pool, folder)
