"""Processes of one run that are killed and restarted: PostgreSQL, and Yurt's services."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.chaos.proxy import Address
from tests.postgres import OpenPostgres
from webhook.ledger.postgres_programs import PostgresUnusable
from workers import parent_death

SOCKET = ".s.PGSQL.5432"
"""PostgreSQL's own name for its Unix socket."""
ROOT = Path(__file__).parents[2]

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_RESTART_SECONDS = 1.0
_MAX_CRASHES = 5


class ChaosError(Exception):
    """The run could not be carried out, so it shows nothing."""


class KillablePostgres:
    """PostgreSQL that can be killed and restarted.

    All calls run in one thread: the server is a child that dies with the thread that started it.
    """

    def __init__(self, folder: Path) -> None:
        self._server = OpenPostgres(folder)
        self._thread = ThreadPoolExecutor(1, "postgres")

    @property
    def sockets(self) -> list[Address]:
        """The Unix socket it listens on; none before the start."""
        return [Path(parse_qs(urlsplit(self._server.dsn).query)["host"][0]) / SOCKET] if self._server.dsn else []

    @property
    def dsn(self) -> str:
        """DSN of the server itself, past every proxy."""
        return self._server.dsn

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster."""
        return self._server.pid

    async def start(self) -> None:
        """Start the server, after a crash on the same data."""
        for last in (False, False, True):
            try:
                await self._in_thread(self._server.start)
            except PostgresUnusable:  # backends of the killed server may still be ending
                if last:
                    raise
                await asyncio.sleep(_RESTART_SECONDS)
            else:
                return

    async def kill(self) -> None:
        """Kill the postmaster with SIGKILL."""
        await self._in_thread(self._server.kill)

    async def aclose(self) -> None:
        """Stop the server and end the thread."""
        await self._in_thread(self._server.stop)
        self._thread.shutdown()

    async def _in_thread(self, call: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call)


class RestartedService:
    """A process that is restarted whenever it ends, until ``stop``."""

    def __init__(self, name: str, module: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.announced: Mapping[str, str] = {}
        """The line of JSON that it printed once it listened; empty while it does not listen."""
        self.crashes = 0
        """Times it ended without having been killed by ``send``."""
        self._argv = (sys.executable, "-m", *module)
        self._log = folder / f"{name}.log"
        self._environment = {**environment, parent_death.ENVIRONMENT: "stdin"}
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._killed = False

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the process and wait until it listens. Raises ChaosError if it does not."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=self._environment,
                process_group=0,  # Ctrl-C goes to the run alone, which stops the services in order
            )
        assert self._process.stdout
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if line:
            self.announced = json.loads(line)
        elif not self._killed:
            raise ChaosError(f"{self.name} did not start; its log is {self._log}")

    async def keep(self, pause_seconds: Callable[[], float]) -> None:
        """Restart the process whenever it ends, after ``pause_seconds()``."""
        while True:
            assert self._process
            await self._process.wait()
            self.announced = {}
            if self._stopping.is_set():
                return
            self.crashes += not self._killed
            await asyncio.sleep(pause_seconds())
            self._killed = False
            try:
                await self.start()
            except ChaosError:  # it ended while it started: counted above
                if self.crashes > _MAX_CRASHES:
                    raise

    def send(self, number: signal.Signals) -> bool:
        """Send a signal. Returns whether the process was running."""
        if self.pid is None or self._process is None:
            return False
        self._killed |= number is signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)  # not the process's own method: it would collect what asyncio waits for
            return True
        return False

    async def stop(self) -> bool:
        """Stop with SIGTERM, then SIGKILL. Returns whether SIGTERM was enough."""
        self._stopping.set()
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
