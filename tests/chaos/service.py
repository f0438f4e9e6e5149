"""Processes of one run that are killed and started again: PostgreSQL, and services of our own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from tests.chaos.proxy import Address
from webhook.ledger.postgres import PostgresServer, PostgresUnusable
from workers import parent_death

SOCKET = ".s.PGSQL.5432"
"""PostgreSQL's own name for its Unix socket."""
ROOT = Path(__file__).parents[2]

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_RESTART_SECONDS = 1.0
_MAX_FALLS = 5

Value = TypeVar("Value")


class ChaosError(Exception):
    """The run itself cannot go on: nothing was found out."""


class KillablePostgres:
    """PostgreSQL that can be killed and started again. All in one thread, whose end would end the server."""

    def __init__(self, folder: Path) -> None:
        self._server = PostgresServer(folder)
        self._thread = ThreadPoolExecutor(1, "postgres")

    @property
    def sockets(self) -> list[Address]:
        """Where it listens."""
        return [Path(parse_qs(urlsplit(self._server.dsn).query)["host"][0]) / SOCKET] if self._server.dsn else []

    @property
    def dsn(self) -> str:
        """Past every proxy."""
        return self._server.dsn

    @property
    def pid(self) -> int | None:
        """Of the postmaster."""
        return self._server.pid

    async def start(self) -> None:
        """Start, after a crash on the same data."""
        for last in (False, False, True):
            try:
                await self._in_thread(self._server.start)
            except PostgresUnusable:  # those that the last one left behind may still be ending
                if last:
                    raise
                await asyncio.sleep(_RESTART_SECONDS)
            else:
                return

    async def kill(self) -> None:
        """SIGKILL to the postmaster."""
        await self._in_thread(self._server.kill)

    async def aclose(self) -> None:
        """Stop it, and end the thread."""
        await self._in_thread(self._server.stop)
        self._thread.shutdown()

    async def _in_thread(self, call: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call)


class RestartedService:
    """One process that is started again whenever it ends, until it is told to stop."""

    def __init__(self, name: str, module: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.said: Mapping[str, str] = {}
        """What it announced when it listened; empty while it does not."""
        self.fell = 0
        """Ends by itself."""
        self._argv = (sys.executable, "-m", *module)
        self._log = folder / f"{name}.log"
        self._environment = {**environment, parent_death.ENVIRONMENT: "stdin"}
        self._process: asyncio.subprocess.Process | None = None
        self._told_to_leave = asyncio.Event()
        self._killed = False

    @property
    def pid(self) -> int | None:
        """While it runs, or until it was collected."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start, and wait until it listens. Raises ChaosError."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=self._environment,
                process_group=0,  # Ctrl-C is for us: we stop the services in order
            )
        assert self._process.stdout
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if line:
            self.said = json.loads(line)
        elif not self._killed:
            raise ChaosError(f"{self.name} did not start; its log is {self._log}")

    async def keep(self, pause_seconds: Callable[[], float]) -> None:
        """Start it again whenever it ends."""
        while True:
            assert self._process
            await self._process.wait()
            self.said = {}
            if self._told_to_leave.is_set():
                return
            self.fell += not self._killed
            await asyncio.sleep(pause_seconds())
            self._killed = False
            try:
                await self.start()
            except ChaosError:  # it ended: counted above
                if self.fell > _MAX_FALLS:
                    raise

    def send(self, number: signal.Signals) -> bool:
        """Send a signal. Returns whether it runs."""
        if self.pid is None or self._process is None:
            return False
        self._killed |= number is signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)  # not the process's own method: it would collect what asyncio waits for
            return True
        return False

    async def stop(self) -> bool:
        """SIGTERM, and SIGKILL if it does not leave. Returns whether it left by itself."""
        self._told_to_leave.set()
        if self._process is None:
            return True
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self._process.wait()
            return False
        return True


async def until(look: Callable[[], Awaitable[Value]], what: str, seconds: float, pause_seconds: float = 0.1) -> Value:
    """The first value that is true. Raises ChaosError when there is none in time."""
    try:
        async with asyncio.timeout(seconds):
            for _ in itertools.count():
                if value := await look():
                    return value
                await asyncio.sleep(pause_seconds)
    except TimeoutError:
        pass
    raise ChaosError(f"{what}: not within {seconds:g} s")
