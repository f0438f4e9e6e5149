"""Starts the process that runs models, and hands it the connections of handlers' processes: the agent's view of it.

It is started at the first connection, or ahead of it where the worker's pool has models. One that has ended, whatever
the reason, is replaced at the next connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import BaseModel, Field, ValidationError

from workers.inference import wire
from workers.inference.address import short_address, socket_in
from workers.inference.wire import GraphQuestion, WrongFrameError
from workers.own_process import own_process
from workers.sandbox import descendants
from workers.sandbox.log import ChildLog

_log = structlog.get_logger()

_MOST_LOAD_SECONDS = 86_400.0
"""The control plane takes no more: what the process says is not to be believed."""
_LOADED_AT_ONCE = 2
"""Of what is loaded ahead: a thread waits for each."""
_MOST_WAITING = 128
"""Connections: of a process for each slot, and of those that are starting."""
_END = b"\0end\0"
"""No process prints it: its log is read as far as it goes."""


class _GraphLoaded(BaseModel):
    """What the process says of a graph. Its models may have made it say anything."""

    graph: Annotated[str, Field(max_length=4_096)]
    runs_on: Annotated[str, Field(max_length=100)]
    seconds: Annotated[float, Field(ge=0, le=3_600)]


class InferenceProcess:
    """The process that runs an agent's models. Use on one event loop, close with ``aclose``.

    Args:
        models: The folder below which all models lie.
        environment: Variables of the process: all that it gets.
        folder: Where its socket is to be, a folder that others cannot enter. None: a temporary one.

    """

    def __init__(self, models: Path, environment: Mapping[str, str], folder: Path | None = None) -> None:
        self._models = models
        self._environment = environment
        # Without a folder of its agent's, which the next one removes: one that only this user may enter.
        self._own_folder = None if folder else tempfile.TemporaryDirectory(prefix="yurt-", ignore_cleanup_errors=True)
        place = folder or Path(self._own_folder.name if self._own_folder else "")
        self.address = str(socket_in(place))
        """Path of the socket to connect to."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_address(socket_in(place)) as address:
            self._listener.bind(address)
        self._listener.listen(_MOST_WAITING)
        self._listener.setblocking(False)
        self._waiting: deque[socket.socket] = deque()
        self._handing_over: asyncio.Task[None] | None = None
        self._running: _Running | None = None
        self._loading: set[asyncio.Task[None]] = set()
        self._loads = asyncio.Semaphore(_LOADED_AT_ONCE)
        self.load_seconds: float | None = None
        """For which graphs were loaded into memory up to now, in processes that have ended, too. None: none was."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener, self._accept)

    @property
    def pid(self) -> int | None:
        """Of the process that runs now; None: there is none."""
        return self._running.process.pid if self._running and self._running.is_alive else None

    def warm(self) -> None:
        """Start the process, if there is none, ahead of its first connection."""
        if self._handing_over is None or self._handing_over.done():
            self._handing_over = self._loop.create_task(self._hand_over())

    def load(self, graph: Path) -> None:
        """Have an ONNX file loaded, ahead of the first question. Why one cannot be is logged, and told at the first."""
        loading = self._loop.create_task(self._load(graph))
        self._loading.add(loading)
        loading.add_done_callback(self._loading.discard)

    async def _load(self, graph: Path) -> None:
        async with self._loads:
            if self._listener.fileno() < 0:
                return
            ours, theirs = socket.socketpair()
            self._waiting.append(theirs)
            self.warm()
            with ours:
                try:
                    if isinstance(found := await asyncio.to_thread(_described, ours, graph), str):
                        _log.warning("model not loaded", graph=str(graph), error=found)
                except (WrongFrameError, OSError) as error:
                    _log.warning("model not loaded", graph=str(graph), error=str(error))

    async def aclose(self) -> None:
        """End the process, and take no more connections. May be called twice."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        self._refuse_waiting()
        if self._handing_over:  # not cancelled: a process that is just being started would be lost
            await asyncio.wait([self._handing_over])
        self._refuse_waiting()
        if self._running:
            await self._running.end()
            self._running = None
        await asyncio.gather(*self._loading)  # their connections were closed
        if self._own_folder:
            self._own_folder.cleanup()

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            connection, _ = self._listener.accept()
            self._waiting.append(connection)
        self.warm()

    async def _hand_over(self) -> None:
        """Start the process if there is none, and hand over the connections that wait."""
        try:
            running = await self._alive()
            while self._waiting:
                if running.takes(self._waiting[0]):
                    self._waiting.popleft().close()
                else:  # it has ended, which this loop has yet to hear, or it hangs
                    await running.end()
                running = await self._alive()
        except OSError as error:
            _log.error("models cannot run", error=str(error))
            self._refuse_waiting()

    async def _alive(self) -> _Running:
        if self._running and not self._running.is_alive:
            ended = self._running
            self._running = None
            _log.warning("models' process ended", code=ended.process.returncode, printed=await ended.printed())
            await ended.end()
        # Before the process: what is not there when it is jailed is closed to it, and models are fetched meanwhile.
        self._models.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._running and not self._running.reads(self._models):
            _log.warning("models' folder replaced", folder=str(self._models))
            await self._running.end()
            self._running = None
        if not self._running:
            self._running = await _Running.start(self._models, self._environment, self._note_loaded)
        return self._running

    def _note_loaded(self, seconds: float) -> None:
        self.load_seconds = min((self.load_seconds or 0.0) + seconds, _MOST_LOAD_SECONDS)

    def _refuse_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft().close()


class _Running:
    """One process, the pipe that ends it with this agent, and the socket over which it gets connections."""

    def __init__(
        self, process: Process, parent_pipe: int, control: socket.socket, folder: int, loaded: Callable[[float], None]
    ) -> None:
        assert process.stderr is not None
        assert process.stdout is not None
        self.process = process
        self._parent_pipe = parent_pipe
        self._control = control
        # Open, so that no other folder gets its number. The process's jail knows this one, and none of its path.
        self._folder = folder
        self._log = ChildLog(process.stderr)
        self._telling = asyncio.create_task(_note_loaded(process.stdout, loaded))

    @classmethod
    async def start(cls, models: Path, environment: Mapping[str, str], loaded: Callable[[float], None]) -> _Running:
        """Start a process. ``loaded`` is told for each graph how many seconds its loading took. Raises OSError."""
        folder = os.open(models, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        reading, writing = os.pipe()
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *own_process("workers.inference", str(reading), str(theirs.fileno()), str(models)),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                pass_fds=(reading, theirs.fileno()),
                start_new_session=True,  # a process group of its own, to be killed whole
            )
        except BaseException:
            os.close(folder)
            os.close(writing)
            ours.close()
            raise
        finally:
            os.close(reading)
            theirs.close()
        ours.setblocking(False)
        return cls(process, writing, ours, folder, loaded)

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    def reads(self, models: Path) -> bool:
        """Whether the folder at this path is still the one for which it was started. Raises OSError."""
        return os.path.samestat(os.fstat(self._folder), models.stat())

    def takes(self, connection: socket.socket) -> bool:
        """Hand over a connection. False: the process does not take it."""
        try:
            socket.send_fds(self._control, [b"c"], [connection.fileno()])
        except OSError:
            return False
        return True

    async def printed(self) -> str:
        """The end of what the process has printed, once it has ended."""
        return await self._log.read_until(_END)

    async def end(self) -> None:
        """SIGKILL the process, and wait until it has ended."""
        if self._parent_pipe >= 0:
            if self.is_alive:
                descendants.kill(self.process.pid)
            os.close(self._parent_pipe)
            os.close(self._folder)
            self._parent_pipe = -1
        self._control.close()
        await self.process.wait()
        await self._log.aclose()
        self._telling.cancel()
        await asyncio.wait([self._telling])


def _described(connection: socket.socket, graph: Path) -> object:
    """Ask what a graph is, for which it is loaded. Raises WrongFrameError and OSError. See `wire.read_answer`."""
    wire.ask(connection.fileno(), GraphQuestion(str(graph)))
    return wire.read_answer(connection.fileno())


async def _note_loaded(lines: asyncio.StreamReader, loaded: Callable[[float], None]) -> None:
    """Log which graphs were loaded, what they run on, and how long that took."""
    with suppress(ValueError):  # a line that is too long: the process is not what it was
        while line := await lines.readline():
            try:
                told = _GraphLoaded.model_validate_json(line)
            except ValidationError:
                continue
            _log.info("model loaded", **told.model_dump())
            loaded(told.seconds)
