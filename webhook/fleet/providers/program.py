"""Runs a program to its end: bytes to its stdin, a bounded number of bytes back, and a deadline.

A program that is given up, because the deadline passed, it printed too much or the caller was cancelled, is killed with
every process of its group before the call returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from webhook.fleet.providers import ProviderError

STDERR_BYTES = 8_000
"""Kept of what a program prints to stderr: the end."""
_EOF_SECONDS = 1.0
"""From a program's end to the end of its output. Longer: a process that it started holds the pipe."""
_STDIN, _STDOUT = 0, 1


@dataclass(frozen=True, slots=True)
class ProgramEnd:
    """How a program ended, and what it printed."""

    status: int
    """Its exit status; negative: the signal that killed it."""
    stdout: bytes
    stderr: bytes
    """The last `STDERR_BYTES`."""


async def run_program(
    argv: Sequence[str],
    stdin: bytes,
    environment: Mapping[str, str],
    *,
    timeout_seconds: float,
    stdout_bytes: int,
) -> ProgramEnd:
    """Run a program without a shell, in a process group of its own, and wait for its end.

    Raises:
        ProviderError: it could not be started, ran for too long, printed too much or left its stdout open.

    """
    starting = asyncio.ensure_future(_started(argv, environment, stdout_bytes))
    try:
        transport, exchange = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Whether it was started is known only now: a process that no caller waits for must not go on.
        with contextlib.suppress(OSError):
            await _end(*await starting)
        raise
    except OSError as error:
        hint = "is it there, executable, and named by its path or found in PATH?"
        raise ProviderError(f"{argv[0]} cannot be started: {os.strerror(error.errno or 0)}", hint=hint) from error
    try:
        exchange.send(stdin)
        async with asyncio.timeout(timeout_seconds):
            await exchange.answered
        return ProgramEnd(transport.get_returncode() or 0, bytes(exchange.stdout), bytes(exchange.stderr))
    except TimeoutError:
        hint = "raise timeout_seconds, or have it return before the machine has booted"
        raise ProviderError(f"{argv[0]} did not end within {timeout_seconds:g} s: killed", hint=hint) from None
    finally:
        await _end(transport, exchange)


async def _started(
    argv: Sequence[str], environment: Mapping[str, str], stdout_bytes: int
) -> tuple[asyncio.SubprocessTransport, _Exchange]:
    loop = asyncio.get_running_loop()
    return await loop.subprocess_exec(
        lambda: _Exchange(loop, argv[0], stdout_bytes), *argv, env=dict(environment), start_new_session=True
    )


async def _end(transport: asyncio.SubprocessTransport, exchange: _Exchange) -> None:
    """Kill what still runs. Until its end is collected, its number is that of no other group."""
    if transport.get_returncode() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
        await asyncio.shield(exchange.exited)
    transport.close()


class _Exchange(asyncio.SubprocessProtocol):
    """What one program prints, until it has ended and closed its stdout."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str, stdout_bytes: int) -> None:
        self._loop = loop
        self._name = name
        self._stdout_bytes = stdout_bytes
        self._open = True
        self._giving_up: asyncio.TimerHandle | None = None
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.answered: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport. See `asyncio.SubprocessProtocol`."""
        # Not checked: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def send(self, stdin: bytes) -> None:
        """Write all of its stdin. A program that does not read it has its reasons."""
        pipe = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(_STDIN))
        pipe.write(stdin)
        pipe.close()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Keep what is printed, within bounds. See `asyncio.SubprocessProtocol`."""
        if fd != _STDOUT:
            self.stderr = (self.stderr + data)[-STDERR_BYTES:]
        elif len(self.stdout) + len(data) <= self._stdout_bytes:
            self.stdout += data
        else:
            self._fail(ProviderError(f"{self._name} printed more than {self._stdout_bytes} bytes: killed"))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Note the end of stdout. See `asyncio.SubprocessProtocol`."""
        self._open = self._open and fd != _STDOUT
        self._settle()

    def process_exited(self) -> None:
        """Note the program's end. See `asyncio.SubprocessProtocol`."""
        if not self.exited.done():
            self.exited.set_result(None)
        self._settle()
        if not self.answered.done():
            self._giving_up = self._loop.call_later(_EOF_SECONDS, self._left_open)

    def _settle(self) -> None:
        if self.exited.done() and not self._open and not self.answered.done():
            self.answered.set_result(None)
            if self._giving_up:
                self._giving_up.cancel()

    def _left_open(self) -> None:
        hint = "redirect the output of what it starts in the background"
        self._fail(ProviderError(f"{self._name} has ended, and a process that it started holds its stdout", hint=hint))

    def _fail(self, error: ProviderError) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)
