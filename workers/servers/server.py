"""Runs servers beside the agent: starts one, waits until it is ready, starts it again when it has ended.

A server gets the environment of handlers, which has no secret of the agent, and a folder of its own to work in. It is
not jailed: it needs graphics cards and weights, and sees only what requests carry.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from pathlib import Path
from typing import NoReturn

import httpx
import structlog

from workers.bounded_read import BodyTooLong, read_bounded
from workers.concurrency import end
from workers.handlers import HandlerUnavailable
from workers.handlers.folder import ENVIRONMENT
from workers.handlers.http.handler import HOST
from workers.handlers.http.options import HttpOptions
from workers.own_process import own_process
from workers.sandbox.environment import scrubbed
from workers.sandbox.log import ChildLog

_log = structlog.get_logger()

_LOOK_SECONDS = 0.05
_LONGEST_LOOK_SECONDS = 1.0
_ANSWER_SECONDS = 5.0
_ANSWER_BYTES = 64 << 10
_PAUSE_SECONDS = 1.0
"""Before a server that has ended is started again; doubles each time."""
_LONGEST_PAUSE_SECONDS = 60.0
_WELL_SECONDS = 300.0
"""A server that ran for so long has ended for another reason than its start."""
_END_SECONDS = 5.0
"""Between SIGTERM and SIGKILL."""
_LAST_LINE_CHARACTERS = 500
_WATCH_SECONDS = 2.0
"""Between two looks at a server that another program runs."""
_MISSES = 3
"""Looks in a row that find it not ready, after which it has ended."""


def may_enter(folder: Path) -> bool:
    """Whether it is a folder of this machine in which this process may start another."""
    return os.access(folder, os.X_OK) and folder.is_dir()


class ServerFailed(HandlerUnavailable):
    """A server has ended, or was not ready in time."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log
        """The end of what it printed."""


class HandlerServer:
    """One server of a handler. Use on one event loop."""

    def __init__(self, options: HttpOptions, folder: Path, handlers: Path | None) -> None:
        """Run a server with these options.

        Args:
            options: With the folders of models in them.
            folder: An existing one, where it works unless the options name another.
            handlers: The user's folder, where a relative program is found.

        """
        self._options = options
        self._folder = folder
        self._handlers = handlers
        self._process: Process | None = None
        self._parent_pipe = -1
        self._printed: ChildLog | None = None
        self._started_at = 0.0
        self._pause_seconds = _PAUSE_SECONDS
        self._why = ""
        self._log = ""
        self._starting: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Return once the server takes requests; start it where it does not run.

        Raises:
            HandlerUnavailable: it cannot be started, has ended, or does not become ready in time.

        """
        if not self._options.command:
            if not await self._is_ready():
                port = self._options.port
                raise HandlerUnavailable(f"No server is ready on port {port} of this worker: start it, or set command.")
            return
        if self._process is not None and self._process.returncode is None and self._starting is None:
            return
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._has_started)
        # Shielded: one lease that is cancelled ends the start for no other.
        await asyncio.shield(self._starting)

    async def ended(self) -> NoReturn:
        """Wait until the server has ended. Raises ServerFailed."""
        process = self._process
        if process is None:
            await self._watch()
        else:
            await process.wait()
            await self._fail(f"ended with exit status {process.returncode}")
        raise AssertionError("both raise")

    async def _watch(self) -> NoReturn:
        """Wait until a server that another program runs is not ready any more."""
        misses = 0
        while misses < _MISSES:
            await asyncio.sleep(_WATCH_SECONDS)
            misses = 0 if await self._is_ready() else misses + 1
        raise ServerFailed(f"No server is ready on port {self._options.port} of this worker any more.")

    async def aclose(self) -> None:
        """End the server and all that it has started."""
        if self._starting is not None:
            await end([self._starting])
        await self._end()

    def _has_started(self, task: asyncio.Task[None]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # each that waits for it gets it

    async def _start(self) -> None:
        await self._end()
        if (left := self._started_at + self._pause_seconds - time.monotonic()) > 0 and self._why:
            raise ServerFailed(f"{self._why} It is started again in {left:.0f} s.", self._log)
        was_well = time.monotonic() - self._started_at > _WELL_SECONDS
        self._pause_seconds = _PAUSE_SECONDS if was_well else min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
        self._started_at = time.monotonic()
        process = await self._spawned()
        _log.info("server started", program=self._options.command[0], port=self._options.port)
        try:
            async with asyncio.timeout(self._options.start_seconds):
                await self._become_ready(process)
        except TimeoutError:
            await self._fail(f"was not ready after {self._options.start_seconds:g} s")
        _log.info("server ready", port=self._options.port, seconds=round(time.monotonic() - self._started_at, 3))

    async def _become_ready(self, process: Process) -> None:
        look = _LOOK_SECONDS
        while not await self._is_ready():
            if process.returncode is not None:
                await self._fail(f"ended with exit status {process.returncode} before it was ready")
            await asyncio.sleep(look)
            look = min(1.5 * look, _LONGEST_LOOK_SECONDS)
        if process.returncode is not None:  # then it was another's answer
            await self._fail("ended, and another program answers on its port")

    async def _fail(self, what: str) -> NoReturn:
        assert self._printed is not None
        printed = (await self._printed.read_until(b"\0")).strip()
        last = printed.rpartition("\n")[2][-_LAST_LINE_CHARACTERS:]
        self._why = f"The server {self._options.command[0]} {what}" + (f": {last}" if last else ".")
        await self._end()
        self._log = printed
        raise ServerFailed(self._why, printed)

    async def _spawned(self) -> Process:
        argv, folder = self._argv(), self._working_folder()
        reading, self._parent_pipe = os.pipe()
        handlers = {ENVIRONMENT: str(self._handlers)} if self._handlers else {}
        try:
            process = await asyncio.create_subprocess_exec(
                *own_process("workers.servers.launcher", str(reading), *argv),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                cwd=folder,
                env=scrubbed({**handlers, **self._options.environment}),
                pass_fds=(reading,),
                start_new_session=True,
            )
        finally:
            os.close(reading)
        assert process.stdout is not None
        self._process, self._printed = process, ChildLog(process.stdout)
        return process

    def _working_folder(self) -> Path:
        if not self._options.folder:
            return self._folder
        folder = Path(self._options.folder)
        if not may_enter(folder):
            raise HandlerUnavailable(
                f"The server is to be started in {folder}, and this machine has no such folder that its worker may "
                "enter: correct the setting folder, or use an image that has it."
            )
        return folder

    def _argv(self) -> list[str]:
        program, *arguments = self._options.command
        if "/" not in program or program.startswith("/"):
            return [program, *arguments]
        if self._handlers is None:
            raise HandlerUnavailable(f"{program} lies in the handlers' folder: set {ENVIRONMENT} on its worker.")
        return [str(self._handlers / program), *arguments]

    async def _is_ready(self) -> bool:
        url = f"http://{HOST}:{self._options.port}{self._options.ready}"
        try:
            async with (
                asyncio.timeout(_ANSWER_SECONDS),
                httpx.AsyncClient(trust_env=False, timeout=_ANSWER_SECONDS) as http,
                http.stream("GET", url) as answer,
            ):
                return answer.status_code == 200 and self._says_ready(
                    await read_bounded(answer.aiter_raw(), _ANSWER_BYTES)
                )
        except (httpx.HTTPError, TimeoutError, BodyTooLong):
            return False

    def _says_ready(self, body: bytes) -> bool:
        if not self._options.ready_status:
            return True
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            return False
        return isinstance(said, dict) and said.get("status") in self._options.ready_status

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        os.close(self._parent_pipe)
        if self._printed is not None:
            await self._printed.aclose()
