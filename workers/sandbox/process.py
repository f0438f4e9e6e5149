"""One child process, as the agent sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress

from pydantic import ValidationError

from workers import protocol
from workers.handlers import HandlerError, Job, Result
from workers.sandbox import answer, descendants
from workers.sandbox.child import limit_errors, wire
from workers.sandbox.errors import WorkerFault
from workers.sandbox.log import Log, printable

_START_SECONDS = 60.0
_MAX_GROWTH_BYTES = 512 << 20
"""Resident memory over what the first job left (a model, a library): more is a leak."""
_OUT_OF_MEMORY = ("failed to allocate", "bad_alloc", "out of memory", "Cannot allocate memory")
"""What C and C++ libraries print before they abort for want of memory (GLib, libstdc++)."""


class _DiedError(Exception):
    """The child closed its pipe or spoke nonsense."""


class ChildProcess:
    """A process that runs one job after the other. ``usable`` tells whether it may be given another."""

    def __init__(self, process: Process, lifeline: int) -> None:
        assert process.stderr is not None
        self._process = process
        self._lifeline = lifeline
        self._log = Log(process.stderr)
        self._in_doubt = True
        self._first_resident_bytes = 0
        self.jobs = 0

    @classmethod
    async def spawn(cls, preload: tuple[str, ...], environment: Mapping[str, str]) -> ChildProcess:
        """Start a process; it takes jobs once ``ready`` has returned. Raises ``WorkerFault``."""
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "workers.sandbox.child", str(reading), *preload),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                pass_fds=(reading,),
                start_new_session=True,
            )
        except BaseException as error:
            os.close(writing)
            if isinstance(error, OSError):
                raise WorkerFault(f"a handler's process could not be started: {error}") from error
            raise
        finally:
            os.close(reading)
        return cls(process, writing)

    async def ready(self) -> None:
        """Wait until the process has loaded what it needs. Raises ``WorkerFault``."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                answer.State.model_validate_json(await self._receive())
        except (_DiedError, TimeoutError, ValidationError) as error:
            self.kill()
            raise WorkerFault(f"a handler's process did not start: {await self._last_words()}") from error
        self._in_doubt = False

    @property
    def usable(self) -> bool:
        """Idle, alive, and left in order by its last job."""
        return not self._in_doubt and self._process.returncode is None

    async def run(self, handler: protocol.Handler, job: Job) -> Result:
        """Run one job; see ``Sandbox.run``. Anything but a clean end leaves the process unusable: kill it."""
        self._in_doubt = True
        self.jobs += 1
        self._log.clear()
        try:
            reply = await self._exchange(handler, job)
            self._judge(reply)
            return self._settle(reply.verdict, handler, job)
        except HandlerError as error:
            error.log = error.log or await self._last_words()
            raise

    def kill(self) -> None:
        """SIGKILL the process and all that it started. May be called twice."""
        if self._lifeline >= 0:
            descendants.kill(self._process.pid)
            os.close(self._lifeline)
            self._lifeline = -1
        self._in_doubt = True

    async def gone(self) -> None:
        """Wait until the process has ended and was reaped."""
        await self._process.wait()
        await self._log.aclose()

    async def _exchange(self, handler: protocol.Handler, job: Job) -> answer.Reply:
        wall_seconds = handler.limits.wall_seconds
        try:
            async with asyncio.timeout(wall_seconds):
                await self._send(wire.encode(_request(self.jobs, handler, job)))
                answered = await self._receive()
        except TimeoutError:
            self.kill()
            message = f"Handling the file did not end within {wall_seconds:g} s."
            raise HandlerError("timeout", message, retry=True, log=await self._last_words()) from None
        except _DiedError:
            self.kill()
            raise await self._post_mortem(handler.limits) from None
        return answer.read(answered)

    async def _send(self, frame: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frame)
            await self._process.stdin.drain()
        except ConnectionError as error:
            raise _DiedError from error

    async def _receive(self) -> bytes:
        assert self._process.stdout is not None
        try:
            (size,) = wire.HEADER.unpack(await self._process.stdout.readexactly(wire.HEADER.size))
            if size > wire.MAX_FRAME_BYTES:
                raise _DiedError
            return await self._process.stdout.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _DiedError from error

    def _judge(self, reply: answer.Reply) -> None:
        """Decide whether the process may be given another job; kill what its handler left running before any
        check.
        """
        resident_bytes = reply.state.resident_bytes
        self._first_resident_bytes = self._first_resident_bytes or resident_bytes
        grown = resident_bytes > self._first_resident_bytes + _MAX_GROWTH_BYTES
        meant = isinstance(reply.verdict, answer.Done) or (
            isinstance(reply.verdict, answer.Failed) and reply.verdict.clean
        )
        self._in_doubt = reply.state.strays or grown or not meant
        if self._in_doubt:
            self.kill()

    def _settle(self, verdict: answer.Verdict, handler: protocol.Handler, job: Job) -> Result:
        if isinstance(verdict, answer.Fault):
            raise WorkerFault(printable(verdict.message, 4_000))
        if isinstance(verdict, answer.Failed):
            raise HandlerError(verdict.reason, printable(verdict.message, 4_000), retry=verdict.retry)
        return answer.result(verdict, job, handler.limits.output_bytes)

    async def _last_words(self) -> str:
        return await self._log.until(wire.end_of_log(self.jobs))

    async def _post_mortem(self, limits: protocol.Limits) -> HandlerError:
        log = await self._last_words()
        error = _cause(await self._process.wait(), log, limits)
        error.log = log
        return error


def _request(number: int, handler: protocol.Handler, job: Job) -> wire.Request:
    return wire.Request(
        number=number,
        kind=handler.kind,
        options=handler.options,
        cpu_seconds=handler.limits.cpu_seconds,
        memory_bytes=handler.limits.memory_bytes,
        output_bytes=handler.limits.output_bytes,
        input=str(job.input.absolute()),
        output=str(job.output.absolute()),
        key=job.key,
        etag=job.etag,
    )


def _cause(code: int, log: str, limits: protocol.Limits) -> HandlerError:
    """Tell from how a process ended why. ``code`` is negative for a signal."""
    if code == -signal.SIGXCPU:
        return limit_errors.cpu(limits.cpu_seconds)
    if code < 0 and any(text in log[-2_000:] for text in _OUT_OF_MEMORY):
        return limit_errors.memory(limits.memory_bytes)
    if code >= 0:
        return HandlerError("crashed", f"The handler ended its process with exit code {code}.", retry=True)
    name = str(-code)
    with suppress(ValueError):
        name = signal.Signals(-code).name
    hint = " The machine may have run out of memory." if code == -signal.SIGKILL else ""
    return HandlerError("crashed", f"The handler's process was ended by {name}.{hint}", retry=True)
