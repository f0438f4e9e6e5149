"""A control plane with services whose machines are stand-ins: workers that call home, and ways to their servers."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx

from tests.polling import until
from tests.webhook.plane import ADMIN, RunningPlane, Worker, configured, control_plane, serving
from tests.webhook.proxy.standin import ServerStandIn
from webhook.config import Config
from webhook.pool_settings import Pool
from webhook.proxy.http_machine import HttpMachine, connection_pool
from workers import protocol

SERVICE: dict[str, Any] = {"port": 5000, "wait_seconds": 30}
_numbers = itertools.count(1)


def with_services(
    pools: dict[str, Pool] | None = None, server: dict[str, Any] | None = None, **services: dict[str, Any]
) -> Config:
    """Services on a pool of machines that a test plays."""
    return configured(
        pools={"local": Pool(provider="none"), **(pools or {})},
        services={name: {**SERVICE, **settings} for name, settings in services.items()},
        server=server or {},
    )


@dataclass
class Serving:
    """A running control plane, and the machines that a test plays."""

    plane: RunningPlane
    ways: httpcore.AsyncConnectionPool
    workers: list[Worker] = field(default_factory=list)

    def headers(self, token: str = ADMIN) -> dict[str, str]:
        """The credential of a request."""
        return {"authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, token: str = ADMIN, **more: Any) -> httpx.Response:
        """Send a request to the control plane."""
        headers = {**self.headers(token), **more.pop("headers", {})}
        return await self.plane.http.request(method, path, headers=headers, **more)

    async def machine(self) -> Worker:
        """A machine that has called home, and can run servers."""
        response = await self.plane.hello(
            await self.plane.invite(), f"instance-number-{next(_numbers):04d}", serves=True
        )
        welcome = protocol.Welcome.model_validate_json(response.content)
        worker = Worker(self.plane.http, welcome.worker, welcome.token)
        self.workers.append(worker)
        return worker

    async def given(self, worker: Worker) -> protocol.ServiceOrder:
        """Wait until a machine is given to a service; return its order."""

        async def ordered() -> protocol.ServiceOrder | None:
            response = await worker.post("leases", {"max": 1, "wait": 1})
            orders = protocol.LeaseResponse.model_validate_json(response.content).services
            return orders.orders[0] if orders and orders.orders else None

        order = await until(ordered)
        assert order is not None
        return order

    async def ready(self, worker: Worker, server: ServerStandIn, service: str = "echo") -> None:
        """Have a machine's server be ready: this stand-in."""
        self.plane.services.proxy.registry.appeared(service, worker.id, HttpMachine(self.ways, server.url, ()))

    async def serve(self, server: ServerStandIn, service: str = "echo") -> Worker:
        """A machine that serves with this stand-in as soon as it is given to the service."""
        worker = await self.machine()
        await self.given(worker)
        await self.ready(worker, server, service)
        return worker

    @contextlib.asynccontextmanager
    async def replica(self, config: Config | Callable[[str], Config]) -> AsyncIterator[Serving]:
        """Another replica over the same ledger."""
        async with serving(self.plane.dsn, config) as plane:
            yield Serving(plane, self.ways)

    def load(self, service: str = "echo") -> tuple[int, int]:
        """Requests that wait and that are under way."""
        load = self.plane.services.proxy.queues[service].load
        return load.waiting, load.in_flight


def reachable(config: Config) -> Callable[[str], Config]:
    """A configuration whose replica others reach by its URL."""
    return lambda url: config.model_copy(update={"server": config.server.model_copy(update={"replica_url": url})})


@contextlib.asynccontextmanager
async def services_at(
    postgres_dsn: str, config: Config | Callable[[str], Config] | None = None, **more: Any
) -> AsyncIterator[Serving]:
    """A control plane with a service ``echo``."""
    async with (
        connection_pool() as ways,
        control_plane(postgres_dsn, config or with_services(echo={}), **more) as plane,
    ):
        yield Serving(plane, ways)
