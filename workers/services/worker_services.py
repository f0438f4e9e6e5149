"""All services of one agent: compares what it is to run with what it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from workers.client import ControlPlaneClient
from workers.concurrency import end
from workers.models.worker_models import WorkerModels
from workers.protocol import ServiceOrder, ServiceOrders
from workers.servers.all_servers import HandlerServers
from workers.services.served_service import Leaving, ServedService

_log = structlog.get_logger()


class WorkerServices:
    """The services that an agent runs. Use on one event loop."""

    def __init__(self, models: WorkerModels, servers: HandlerServers, client: ControlPlaneClient) -> None:
        self.digest = ""
        """Of the orders that were accepted last."""
        self.changed: Callable[[], None] = lambda: None
        """Is called when a service has stopped."""
        self._models = models
        self._servers = servers
        self._client = client
        self._served: dict[str, ServedService] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._draining = False

    @property
    def active(self) -> bool:
        """Whether there is a service that runs, or finishes requests."""
        return bool(self._served or self._stopping)

    def accept(self, orders: ServiceOrders) -> None:
        """Start what is missing, and stop what is not among the orders, or is ordered otherwise."""
        if self._draining:
            return
        self.digest = orders.digest
        wanted = {order.name: order for order in orders.orders}
        replaced: dict[str, Leaving] = {}
        for name, served in [*self._served.items()]:
            if wanted.get(name) != served.order:
                replaced[name] = served.leaving
                self._stop(name)
        for name, order in wanted.items():
            if name not in self._served:
                self._start(order, replaced.get(name))

    def drain(self) -> None:
        """Take no more requests, and stop all services once those under way have ended."""
        self._draining = True
        for name in [*self._served]:
            self._stop(name)

    async def aclose(self) -> None:
        """Stop all services at once."""
        self._draining = True
        await asyncio.gather(*(served.aclose() for served in self._served.values()))
        await end(self._stopping)
        self._served.clear()

    def _start(self, order: ServiceOrder, earlier: Leaving | None) -> None:
        _log.info("service ordered", service=order.name, way=order.way, port=order.port)
        self._served[order.name] = ServedService(order, self._models, self._servers, self._client, earlier)

    def _stop(self, name: str) -> None:
        _log.info("service stops", service=name)
        task = asyncio.create_task(self._served.pop(name).drain())
        self._stopping.add(task)
        task.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self._stopping.discard(task)
        self.changed()
