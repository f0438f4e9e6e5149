"""Starts one template process, sends it jobs and ends it: the agent's view of a child."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from workers import protocol
from workers.disk_space import is_full_without
from workers.handlers import HandlerError, HandlerUnavailable, Job
from workers.sandbox import limit_errors, messages, replies
from workers.sandbox.errors import WorkerFault
from workers.sandbox.log import ChildLog, printable
from workers.sandbox.messages import (
    MAX_FILES,
    MAX_MESSAGE_LENGTH,
    MAX_PROCESSES,
    Exceeded,
    HandlerDone,
    HandlerFailed,
    HandlerMissing,
    JailRules,
    JobEnd,
    JobRequest,
    SourceFile,
)
from workers.sandbox.opened import OpenedResult, output_folder
from workers.sandbox.template import TemplateProcess

_START_SECONDS = 60.0
_OUT_OF_MEMORY = ("failed to allocate", "bad_alloc", "out of memory", "Cannot allocate memory")
"""What C and C++ libraries print before they abort for want of memory (GLib, libstdc++)."""


class _ChildDiedError(Exception):
    """The child closed its pipe or sent no valid frame."""


class ChildProcess:
    """A template process, which runs each job in a fork of its own, one after the other.

    ``usable`` says whether it may be given another.
    """

    def __init__(self, template: TemplateProcess) -> None:
        process = template.process
        assert process.stderr is not None
        self._template = template
        self._process = process
        self._log = ChildLog(process.stderr)
        self._in_order = False
        self._sources: list[SourceFile] = []
        self.last: JobEnd | None = None
        """How the last job ended; None where it was killed from here."""
        self.jobs = 0
        """Jobs that it was given so far."""
        self._imports: tuple[Path, ...] | None = None

    @classmethod
    async def spawn(cls, preload: tuple[str, ...], environment: Mapping[str, str]) -> ChildProcess:
        """Start a process; it takes jobs once ``ready`` has returned. Raises ``WorkerFault``."""
        try:
            return cls(await TemplateProcess.start(preload, environment))
        except OSError as error:
            raise WorkerFault(f"a handler's process could not be started: {error}") from error

    async def ready(self) -> None:
        """Wait until the process has loaded what it needs. Raises ``WorkerFault``."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                replies.parse_ready(await self._receive())
        except (_ChildDiedError, TimeoutError, ValidationError) as error:
            self.kill()
            raise WorkerFault(f"a handler's process did not start: {await self.printed()}") from error
        self._in_order = True

    @property
    def pid(self) -> int:
        """The process's number; it leads a session and a process group of the same number."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Idle and alive, and all processes of its last job have ended."""
        return self._in_order and self._process.returncode is None

    @property
    def is_current(self) -> bool:
        """Whether the source files that it has imported are still as they were: else another has to take its place."""
        return all(_is_unchanged(source) for source in self._sources)

    def serves(self, imports: tuple[Path, ...]) -> bool:
        """Whether it may run a job with these folders to import from: it keeps to those of its first job."""
        return self._imports in (None, imports)

    async def run(self, handler: protocol.Handler, job: Job) -> OpenedResult:
        """Run one job within ``handler.limits``, with ``handler.options`` as the job's options.

        The result's files are open, to be closed by the caller: regular files in ``job.output`` with valid, distinct
        names and content types, at most ``protocol.MAX_OUTPUTS`` of them and ``output_bytes`` together.

        Unless the job ends by itself the process is not ``usable`` afterwards, also when the call is cancelled.

        Raises:
            HandlerError: the job failed. ``reason`` is the handler's own, or
                ``timeout`` or ``crashed`` (retry);
                ``handler-error`` (retry): an exception that the handler did not intend, or an invalid result;
                ``disk-full`` (retry): the handler says so, and the disk is not;
                ``cpu-limit``, ``memory-limit``, ``output-too-large``, ``too-many-outputs``, ``too-many-files`` or
                ``too-many-processes`` (no retry).
                ``log`` is the end of what the handler printed, with its traceback, at most 16,000 characters.
            HandlerUnavailable: the handler's module or program is missing or broken, whichever the object.
            WorkerFault: this worker is to blame, not the object: its disk is full, as measured here, and not by the
                job's own files.
        """
        # Until a reply says otherwise: a cancelled job leaves its handler running.
        self._in_order = False
        self.jobs += 1
        self._imports = job.imports
        self.last = None
        self._log.clear()
        try:
            return await self._run(handler, job)
        except HandlerError as error:
            if await asyncio.to_thread(is_full_without, job.output.parent):
                raise WorkerFault("this worker's disk is full") from error
            error.log = error.log or await self.printed()
            raise

    async def printed(self) -> str:
        """The end of what the present or last job printed, at most 16,000 characters."""
        return await self._log.read_until(messages.end_of_log(self.jobs))

    def kill(self) -> None:
        """SIGKILL the process and all that it started. May be called twice."""
        self._template.kill()
        self._in_order = False

    async def ended(self) -> None:
        """Wait until the process has ended and was reaped."""
        await self._process.wait()
        await self._log.aclose()

    async def _run(self, handler: protocol.Handler, job: Job) -> OpenedResult:
        with output_folder(job.output) as folder:
            outcome = await self._outcome(handler, job)
            return self._result(outcome, folder, handler.limits.output_bytes)

    async def _outcome(self, handler: protocol.Handler, job: Job) -> bytes:
        outcome, end = await self._exchange(handler, job)
        self.last = end
        self._sources += end.sources
        self._in_order = True
        if end.exceeded:
            raise _limit_error(end.exceeded, handler.limits)
        if not outcome:
            raise _cause_of_death(end.code, await self.printed(), handler.limits)
        return outcome

    async def _exchange(self, handler: protocol.Handler, job: Job) -> tuple[bytes, JobEnd]:
        """Return the outcome, which may be empty, and how the job ended."""
        wall_seconds = handler.limits.wall_seconds
        temporary = job.output.with_name("temporary")
        temporary.mkdir(mode=0o700, exist_ok=True)
        try:
            async with asyncio.timeout(wall_seconds):
                await self._send(messages.encode(_request(self.jobs, handler, job, temporary)))
                return await self._receive(), replies.parse_end(await self._receive())
        except TimeoutError:
            self.kill()
            message = f"Handling the file did not end within {wall_seconds:g} s."
            raise HandlerError("timeout", message, retry=True, log=await self.printed()) from None
        except (_ChildDiedError, ValidationError):
            self.kill()
            raise await self._death_error(handler.limits) from None

    async def _send(self, frame: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(frame)
            await self._process.stdin.drain()
        except ConnectionError as error:
            raise _ChildDiedError from error

    async def _receive(self) -> bytes:
        assert self._process.stdout is not None
        try:
            (size,) = messages.HEADER.unpack(await self._process.stdout.readexactly(messages.HEADER.size))
            if size > messages.MAX_FRAME_BYTES:  # not a length: the handler has written into the pipe
                raise _ChildDiedError
            return await self._process.stdout.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _ChildDiedError from error

    @staticmethod
    def _result(body: bytes, folder: int, output_bytes: int) -> OpenedResult:
        match replies.parse_outcome(body):
            case HandlerMissing(message=message):
                raise HandlerUnavailable(printable(message, MAX_MESSAGE_LENGTH))
            case HandlerFailed(reason=reason, message=message, retry=retry):
                raise HandlerError(reason, printable(message, MAX_MESSAGE_LENGTH), retry=retry)
            case HandlerDone() as done:
                return replies.publishable(done, folder, output_bytes)

    async def _death_error(self, limits: protocol.Limits) -> HandlerError:
        log = await self.printed()
        error = _cause_of_death(await self._process.wait(), log, limits)
        error.log = log
        return error


def _is_unchanged(source: SourceFile) -> bool:
    try:
        status = os.stat(source.path)  # noqa: PTH116 - before each job: a Path would take longer than the call
    except OSError:
        return False
    return (status.st_mtime_ns, status.st_size) == (source.modified_ns, source.size)


def _request(number: int, handler: protocol.Handler, job: Job, temporary: Path) -> JobRequest:
    return JobRequest(
        number=number,
        kind=handler.kind,
        options=handler.options,
        cpu_seconds=handler.limits.cpu_seconds,
        memory_bytes=handler.limits.memory_bytes,
        output_bytes=handler.limits.output_bytes,
        input=str(job.input.absolute()),
        output=str(job.output.absolute()),
        temporary=str(temporary.absolute()),
        key=job.key,
        etag=job.etag,
        url=job.url,
        models={name: str(folder.absolute()) for name, folder in job.models.items()},
        imports=[str(folder.absolute()) for folder in job.imports],
        model_roots=dict(job.model_roots),
        models_bytes=sum(map(_bytes_below, job.models.values())),
        sandbox=JailRules(**handler.sandbox.model_dump(mode="json")),
    )


def _bytes_below(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _limit_error(exceeded: Exceeded, limits: protocol.Limits) -> HandlerError:
    match exceeded:
        case "cpu":
            return limit_errors.cpu(limits.cpu_seconds)
        case "memory":
            return limit_errors.memory(limits.memory_bytes)
        case "output":
            return limit_errors.scratch(limits.output_bytes)
        case "files":
            return limit_errors.files(MAX_FILES)
        case "processes":
            return limit_errors.processes(MAX_PROCESSES)


def _cause_of_death(code: int, log: str, limits: protocol.Limits) -> HandlerError:
    """Return the error for a process that ended during a job. ``code`` is negative for a signal."""
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
