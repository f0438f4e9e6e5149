"""Starts a template process. Loads little of its own, so that an agent can start its first one before it loads itself.

The process watches a pipe whose only writing end is the agent's: the kernel closes it when the agent ends.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence

from workers.own_process import own_process
from workers.sandbox import descendants


class TemplateProcess:
    """A process of `workers.sandbox.child`, which this one has started."""

    def __init__(self, process: Process, parent_pipe: int) -> None:
        self.process = process
        self._parent_pipe = parent_pipe

    @classmethod
    async def start(cls, preload: Sequence[str], environment: Mapping[str, str]) -> TemplateProcess:
        """Start one that loads these kinds of handlers first. Raises OSError."""
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *own_process("workers.sandbox.child", str(reading), *preload),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                pass_fds=(reading,),
                start_new_session=True,  # a process group of its own, to be killed whole
            )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        return cls(process, writing)

    def kill(self) -> None:
        """SIGKILL the process and all that it started. May be called twice."""
        if self._parent_pipe >= 0:
            descendants.kill(self.process.pid)
            os.close(self._parent_pipe)
            self._parent_pipe = -1
