"""A pool of warm template processes: one child for each slot, each slot taken by one job at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from workers.inference import runtime
from workers.inference.address import INFERENCE
from workers.inference.process import InferenceProcess
from workers.sandbox.environment import scrubbed
from workers.sandbox.errors import WorkerFault
from workers.sandbox.process import ChildProcess
from workers.sandbox.template import TemplateProcess

_log = structlog.get_logger()

WARM_SECONDS = 2.0
"""After which a slot that no job has needed gets its child nevertheless."""


class Sandbox:
    """Runs jobs in warm child processes, at most ``slots`` at once. Use on one event loop, close with ``aclose``.

    Starts with one slot: an agent warms it while it calls home and does not know yet how many it will have.

    ``preload`` names handler kinds (``photo``) whose libraries a child loads before its first job.
    ``environment`` adds variables to the children's; of the agent's own a child gets an allow-list only.
    ``models`` is the folder below which the models lie that children may ask; None: a child runs its models itself.
    ``folder`` is the agent's, where the socket lies by which children ask; None: a temporary one.
    ``first`` is a process that was started already, with the same handlers and variables.
    A child is replaced when it was killed, with a job that did not end, or when a file has changed that it imported
    from the handlers' folder.
    """

    def __init__(
        self,
        *,
        slots: int = 1,
        preload: Collection[str] = (),
        environment: Mapping[str, str] | None = None,
        models: Path | None = None,
        folder: Path | None = None,
        first: TemplateProcess | None = None,
    ) -> None:
        if slots < 1:
            raise ValueError("slots are at least 1")
        self._preload = tuple(preload)
        self._environment = scrubbed(environment or {})
        self.inference = InferenceProcess(models, self._environment.copy(), folder) if models else None
        """Runs the models of all children."""
        if self.inference:
            self._environment[INFERENCE] = self.inference.address
        self._slots = self._opened = self._jobs = 0
        self._has_ended = asyncio.Event()
        """Whether a job has."""
        # The only count of free slots. Each permit is a slot that no job and no warming child holds.
        self._free = asyncio.Semaphore(0)
        # A stack: the child that was used last has the warmest caches. Never more children than permits.
        self._idle: list[ChildProcess] = []
        self._first = ChildProcess(first) if first else None
        self._alive: set[ChildProcess] = {self._first} if self._first else set()
        self._warming: set[asyncio.Task[None]] = set()
        self._reaping: set[asyncio.Task[None]] = set()
        self._closed = False
        self.widen(slots)

    @property
    def slots(self) -> int:
        """Jobs that can run at once."""
        return self._slots

    def widen(self, slots: int) -> None:
        """Raise the number of slots to ``slots``; never lowers it. Each new slot is free once its child is warm.

        The first child is started at once. Others would take processors from the first job, so they are started for a
        job that has none, after the first job, or after `WARM_SECONDS` in any case.
        """
        self._slots = max(slots, self._slots)
        self._open_needed()
        if self._opened < self._slots:
            _keep(asyncio.create_task(self._open_others()), self._warming)

    def _open_needed(self) -> None:
        """Open the first slot, and one for each job that holds none."""
        while self._opened < min(max(1, self._jobs), self._slots):
            self._open_one()

    def _open_one(self) -> None:
        self._opened += 1
        _keep(asyncio.create_task(self._open_slot()), self._warming)

    async def _open_others(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(WARM_SECONDS):
                await self._has_ended.wait()
        while self._opened < self._slots:
            self._open_one()

    @property
    def load_seconds(self) -> float | None:
        """For which models were loaded into memory up to now, all together. None: none was."""
        return self.inference.load_seconds if self.inference else None

    def warm_models(self) -> None:
        """Have the process started that runs models, where it can be: ahead of the first job that asks it."""
        if self.inference and runtime.available():
            self.inference.warm()

    def load_graph(self, graph: Path) -> None:
        """Have an ONNX file loaded by the process that runs models, where it can be: ahead of the first job."""
        if self.inference and runtime.available():
            self.inference.load(graph)

    @asynccontextmanager
    async def child(self, imports: tuple[Path, ...] = ()) -> AsyncIterator[ChildProcess]:
        """Wait for a free slot, first come, first served, and hold its child for one job.

        ``imports`` are the job's: a child that has imported from other folders is replaced, since two versions of a
        module do not fit into one process.

        A child that is not ``usable`` after the job is killed, so a job that is cancelled ends with its process.

        Raises:
            WorkerFault: no child could be started, or the sandbox was closed, before the job or during it.
        """
        self._jobs += 1
        self._open_needed()
        try:
            async with self._free:
                child = await self._take(imports)
                try:
                    yield child
                except Exception as error:
                    if self._closed:  # its child was killed: the object is not to blame
                        raise WorkerFault("the sandbox was closed while the job was running") from error
                    raise
                finally:
                    self._give_back(child)
        finally:
            self._jobs -= 1
            self._has_ended.set()

    async def aclose(self) -> None:
        """Kill all children, busy ones too, and wait until they have ended. May be called twice."""
        self._closed = True
        for task in self._warming:
            task.cancel()
        await asyncio.gather(*self._warming, return_exceptions=True)
        for child in self._alive:
            child.kill()
        await asyncio.gather(*(child.ended() for child in self._alive), *self._reaping)
        if self.inference:
            await self.inference.aclose()

    async def _open_slot(self) -> None:
        try:
            self._idle.append(await self._start())
        except WorkerFault as fault:  # the first job will meet the same fault and report it to the control plane
            _log.warning("not-warm", error=str(fault))
        finally:
            self._free.release()

    async def _take(self, imports: tuple[Path, ...]) -> ChildProcess:
        for child in reversed(self._idle.copy()):
            if not (child.usable and child.is_current):
                self._idle.remove(child)
                self._discard(child)
            elif child.serves(imports):
                self._idle.remove(child)
                return child
        if self._idle:  # its place is taken: there are never more children than slots
            self._discard(self._idle.pop(0))
        return await self._start()

    async def _start(self) -> ChildProcess:
        self._check_open()
        child, self._first = self._first, None
        child = child or await ChildProcess.spawn(self._preload, self._environment)
        self._alive.add(child)
        try:
            self._check_open()  # closed while the process was being started: ``aclose`` has not seen it
            await child.ready()
        except BaseException:
            self._discard(child)
            raise
        return child

    def _check_open(self) -> None:
        if self._closed:
            raise WorkerFault("the sandbox is closed")

    def _give_back(self, child: ChildProcess) -> None:
        if child.usable and not self._closed:
            self._idle.append(child)
        else:
            self._discard(child)

    def _discard(self, child: ChildProcess) -> None:
        child.kill()
        _keep(asyncio.create_task(self._reap(child)), self._reaping)

    async def _reap(self, child: ChildProcess) -> None:
        await child.ended()
        self._alive.discard(child)


def _keep(task: asyncio.Task[None], tasks: set[asyncio.Task[None]]) -> None:
    """Hold a reference until the task has ended: the event loop holds none."""
    tasks.add(task)
    task.add_done_callback(tasks.discard)
