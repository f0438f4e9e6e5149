"""The agent's side: a pool of warm children, one a slot."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from workers import protocol
from workers.handlers import Job, Result
from workers.sandbox.environment import scrubbed
from workers.sandbox.errors import WorkerFault
from workers.sandbox.process import ChildProcess


class Sandbox:
    """Runs jobs in warm child processes, at most ``slots`` at once. Use on one event loop, close with
    ``aclose``.

    ``preload`` names handler kinds (``photo``) whose libraries a child loads before its first job.
    ``environment`` adds variables to the children's; nothing else than an allow-list is taken from the
    agent's own. A child is replaced after ``jobs_per_child`` jobs, and before that when it has grown or was
    left in doubt.
    """

    def __init__(
        self,
        slots: int,
        *,
        preload: Collection[str] = (),
        environment: Mapping[str, str] | None = None,
        jobs_per_child: int = 1_000,
    ) -> None:
        if slots < 1 or jobs_per_child < 1:
            raise ValueError("slots and jobs_per_child are at least 1")
        self._free = asyncio.Semaphore(slots)
        self._slots = slots
        self._preload = tuple(preload)
        self._environment = scrubbed(environment or {})
        self._jobs_per_child = jobs_per_child
        self._idle: list[ChildProcess] = []
        self._alive: set[ChildProcess] = set()
        self._burials: set[asyncio.Task[None]] = set()
        self._closed = False

    async def warm(self) -> None:
        """Start children until there is one for each slot, so that the first jobs do not wait. Raises
        ``WorkerFault``.
        """
        missing = self._slots - len(self._alive)
        started = await asyncio.gather(*(self._start() for _ in range(missing)), return_exceptions=True)
        self._idle += [child for child in started if isinstance(child, ChildProcess)]
        for error in started:
            if isinstance(error, BaseException):
                raise error

    async def run(self, handler: protocol.Handler, job: Job) -> Result:
        """Run one job within ``handler.limits``; waits for a free slot first. ``handler.options`` are the
        job's options.

        The result's files are regular files in ``job.output`` with valid, distinct names and content types,
        at most ``protocol.MAX_OUTPUTS`` of them and ``output_bytes`` together.

        When cancelled, the child is killed and the cancellation goes on.

        Raises:
            HandlerError: the job failed. ``reason`` is the handler's own, or ``timeout`` (retry), ``crashed``
            (retry),
                ``handler-error`` (retry: an exception that the handler did not mean, or an invalid result),
                ``cpu-limit``, ``memory-limit``, ``output-too-large``, ``too-many-outputs`` (no retry).
                ``log`` is the end of what the handler printed, with its traceback, at most 16,000 characters.
            WorkerFault: this worker's fault, not the object's: disk full, or no child could be started.
        """
        async with self._free:
            child = await self._take()
            try:
                return await child.run(handler, job)
            except Exception as error:
                if self._closed:
                    raise WorkerFault("the sandbox was closed while the job was running") from error
                raise
            finally:
                self._give_back(child)

    async def aclose(self) -> None:
        """Kill all children, busy ones too, and wait until they are gone. May be called twice."""
        self._closed = True
        for child in self._alive:
            child.kill()
        await asyncio.gather(*(child.gone() for child in self._alive), *self._burials)

    async def _take(self) -> ChildProcess:
        while self._idle:
            child = self._idle.pop()
            if child.usable:
                return child
            self._discard(child)
        return await self._start()

    async def _start(self) -> ChildProcess:
        if self._closed:
            raise WorkerFault("the sandbox is closed")
        child = await ChildProcess.spawn(self._preload, self._environment)
        self._alive.add(child)
        try:
            if self._closed:
                raise WorkerFault("the sandbox is closed")
            await child.ready()
        except BaseException:
            self._discard(child)
            raise
        return child

    def _give_back(self, child: ChildProcess) -> None:
        if child.usable and child.jobs < self._jobs_per_child and not self._closed:
            self._idle.append(child)
        else:
            self._discard(child)

    def _discard(self, child: ChildProcess) -> None:
        child.kill()
        burial = asyncio.create_task(self._bury(child))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)

    async def _bury(self, child: ChildProcess) -> None:
        await child.gone()
        self._alive.discard(child)
