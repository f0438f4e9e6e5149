"""A process that is forked for one job."""

from __future__ import annotations

import os
import signal

from tests.polling import until
from tests.workers.processes import alive
from tests.workers.sandbox.jobs import JobFolder, children_of, failure, pid_of, python, sandbox


async def test_what_a_handler_writes_into_its_pipe_is_its_own_error(folder: JobFolder) -> None:
    async with sandbox() as pool:
        error = await failure(pool, python("scribble"), folder.job())
        assert error.reason in ("handler-error", "crashed")
        assert await pid_of(pool, folder)


async def test_a_process_that_died_while_it_waited_is_charged_once_and_replaced(folder: JobFolder) -> None:
    async with sandbox() as pool:
        await pid_of(pool, folder)
        async with pool.child() as child:
            template = child.pid
        await until(lambda: len(children_of(template)) == 1)
        [waiting] = children_of(template)
        os.kill(waiting, signal.SIGKILL)
        await until(lambda: not alive(waiting))
        error = await failure(pool, python("publish_pid"), folder.job())
        assert (error.reason, error.retry) == ("crashed", True)
        assert await pid_of(pool, folder)
