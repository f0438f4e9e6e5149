"""Runs the server of one service: fetches its models, starts it, lets requests come, starts it again when it has ended.

Each change is reported to the control plane, the end of the server's output where it fails, and while its models are
fetched, how far they are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, NoReturn

import structlog

from workers.client import ControlPlaneClient, ControlPlaneFault
from workers.concurrency import end
from workers.handlers import HandlerUnavailable
from workers.handlers.http.options import HttpOptions
from workers.models.worker_models import WorkerModels
from workers.protocol import ServiceOrder, ServiceReport
from workers.retry import Backoff
from workers.sandbox.errors import WorkerFault
from workers.servers.all_servers import HandlerServers
from workers.servers.server import ServerFailed
from workers.services.requests import ServiceRequests
from workers.services.ways import GateUnavailable, gate_address, opened_ways

_log = structlog.get_logger()

REPORT_SECONDS = 3.0
"""Between two reports while the server is not ready."""
READY_REPORT_SECONDS = 30.0
DRAIN_SECONDS = 120.0
"""For requests under way, once the service is to stop."""
_SAY_SECONDS = 5.0
"""For the control plane to hear that no more requests are taken."""
_PAUSE_SECONDS = 1.0
"""Before a server that has failed is tried again; how long it really waits is the server's matter."""
MODELS_PAUSE = Backoff(first_seconds=1.0, longest_seconds=60.0)
"""Before models are asked for again that cannot be had. A newer version is another order, and is tried at once."""
_MESSAGE_CHARACTERS, _LOG_CHARACTERS = 2_000, 16_000

State = Literal["loading", "starting", "ready", "failing"]


@dataclass(frozen=True, slots=True)
class Leaving:
    """How far a service is that is to stop."""

    refuses: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it takes no more requests, and has said so."""
    has_ended: asyncio.Event = field(default_factory=asyncio.Event)


class ServedService:
    """One order, and what is done for it. Use on one event loop."""

    def __init__(
        self,
        order: ServiceOrder,
        models: WorkerModels,
        servers: HandlerServers,
        client: ControlPlaneClient,
        earlier: Leaving | None = None,
    ) -> None:
        """``earlier`` is of the one that this one replaces, and drains: what it says of the service comes first."""
        self.order = order
        self.leaving = Leaving()
        self._models = models
        self._servers = servers
        self._client = client
        self._report = ServiceReport(state="loading")
        self._changed = asyncio.Event()
        self._requests: ServiceRequests | None = None
        self._earlier = earlier
        self._without_models = 0
        """How often the models could not be had, one time after the other."""
        self._serving = asyncio.create_task(self._run())
        self._reporting = asyncio.create_task(self._keep_reporting())

    async def drain(self) -> None:
        """Say that no more requests are taken, take none, finish those under way, and stop the server."""
        try:
            await end([self._reporting])
            if self._requests is not None:
                await self._say_that_it_stops()
            if self._earlier is not None:
                await self._earlier.refuses.wait()
            self.leaving.refuses.set()
            if self._requests is not None:
                await self._requests.drain(DRAIN_SECONDS)
            await self.aclose()
            if self._earlier is not None:
                await self._earlier.has_ended.wait()
        finally:
            self.leaving.refuses.set()
            self.leaving.has_ended.set()

    async def aclose(self) -> None:
        """Stop at once, the server too."""
        await end([self._serving, self._reporting])
        await self._servers.end(self.order.port)

    async def _run(self) -> NoReturn:
        if self._earlier is not None:
            await self._earlier.refuses.wait()
        while True:
            try:
                await self._serve()
            except (HandlerUnavailable, GateUnavailable, WorkerFault, OSError) as error:
                self._failed(error)
            except Exception as error:
                _log.exception("service-fault", service=self.order.name)
                self._failed(error)
            failures = self._without_models
            await asyncio.sleep(MODELS_PAUSE.pause_seconds(failures) if failures else _PAUSE_SECONDS)

    async def _serve(self) -> NoReturn:
        """Serve until the server fails."""
        order = self.order
        self._note("loading" if order.models else "starting")
        self._without_models += 1
        async with self._models.held(order.models) as folders:
            self._without_models = 0
            self._note("starting")
            if self._earlier is not None and order.way == "direct":
                await self._earlier.has_ended.wait()  # its gate may have the same port
            async with (
                self._servers.using(_options(order), folders) as server,
                self._answering() as requests,
                opened_ways(order, requests, self._client),
            ):
                self._note("ready", address=gate_address(order, self._client.url))
                await server.ended()

    @contextlib.asynccontextmanager
    async def _answering(self) -> AsyncIterator[ServiceRequests]:
        requests = self._requests = ServiceRequests(self.order.port, self.order.concurrency)
        try:
            yield requests
        finally:
            self._requests = None
            await requests.aclose()

    # ── reports ─────────────────────────────────────────────────────────────────────────────────────────────

    def _failed(self, error: Exception) -> None:
        log = error.log if isinstance(error, ServerFailed) else ""
        message = str(error) or type(error).__name__
        self._note("failing", message=message[:_MESSAGE_CHARACTERS], log=log[-_LOG_CHARACTERS:])

    def _note(self, state: State, *, message: str = "", log: str = "", address: str = "") -> None:
        if state in ("loading", "starting") and self._report.state == "failing":
            return  # until it is ready, why it failed is worth more
        report = ServiceReport(state=state, message=message, log=log, address=address)
        if report.state != self._report.state:
            _log.info("service", service=self.order.name, state=state, message=message)
        self._report = report
        self._changed.set()

    async def _say_that_it_stops(self) -> None:
        """Have the control plane send no more requests before they are refused, where it can be reached."""
        with contextlib.suppress(ControlPlaneFault, TimeoutError):
            async with asyncio.timeout(_SAY_SECONDS):
                await self._client.report_server(self.order.name, ServiceReport(state="starting"))

    async def _keep_reporting(self) -> NoReturn:
        if self._earlier is not None:
            await self._earlier.refuses.wait()
        while True:
            self._changed.clear()
            report, pause = self._report, REPORT_SECONDS
            with contextlib.suppress(ControlPlaneFault):  # the poll for work knows what to do about it
                await self._client.report_server(self.order.name, report)
                if report.state == "ready":
                    pause = READY_REPORT_SECONDS
                elif (progress := self._models.progress()) is not None:
                    _log.info("weights", service=self.order.name, **progress.model_dump(exclude={"phase"}))
                    await self._client.progress(progress)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()


def _options(order: ServiceOrder) -> HttpOptions:
    return HttpOptions(
        preset=order.kind,
        command=order.command,
        folder=order.folder,
        environment=order.environment,
        port=order.port,
        ready=order.ready,
        ready_status=order.ready_status,
        start_seconds=order.start_seconds,
        method="GET",
    )
