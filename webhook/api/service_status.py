"""Lists services: machines, requests that wait and are under way, why a server fails. Behind the admin token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import AdminAuth
from webhook.api.http import json_response
from webhook.ledger.services import ServiceLedger, ServiceLoad, ServingMachine
from webhook.service_settings import Service


class ServiceMachineStatus(BaseModel):
    """One machine that serves a service."""

    worker: int
    label: str
    state: str
    """``given``, ``loading``, ``starting``, ``ready``, ``failing``, or ``draining``."""
    in_flight: int
    """Slots of it that replicas hold: each has a request, or had one a moment ago."""
    idle_seconds: float
    """Since its last request ended, or it was given; 0 while replicas hold slots of it."""
    message: str
    """Why it fails."""
    log: str
    """The end of its server's output, where it fails."""


class ServiceStatus(BaseModel):
    """One service."""

    name: str
    pool: str
    waiting: int
    """Requests that wait for a machine, at all replicas."""
    in_flight: int
    """Requests under way, at all replicas."""
    concurrency: int
    """Requests that one machine works on at once."""
    withheld: str
    """Why no machine can serve it; empty where one can."""
    not_minted: str
    """Why its pool gets no machine; empty where it does, or needs none."""
    machines: list[ServiceMachineStatus]


class ServiceLoadStatus(BaseModel):
    """How many requests and machines one service has."""

    waiting: int
    """Requests that wait for a machine, at all replicas."""
    in_flight: int
    """Requests under way, at all replicas."""
    machines: dict[str, int]
    """By state: ``given``, ``loading``, ``starting``, ``ready``, ``failing``, or ``draining``."""


class ServiceList(BaseModel):
    """All services, by name."""

    services: list[ServiceStatus]


class ServiceStatusApi:
    """The endpoint that lists services. ``refusal`` says why no machine can serve one; empty where one can."""

    def __init__(
        self, services: Mapping[str, Service], ledger: ServiceLedger, refusal: Callable[[str], str], auth: AdminAuth
    ) -> None:
        self._services = services
        self._ledger = ledger
        self._refusal = refusal
        self._auth = auth

    async def loads(self) -> dict[str, ServiceLoadStatus]:
        """Requests and machines of each service. Raises LedgerUnavailable."""
        if not self._services:
            return {}
        loads, machines = await self._ledger.loads(), await self._ledger.machines()
        return {
            name: ServiceLoadStatus(
                **asdict(loads.get(name, ServiceLoad())),
                machines=Counter(_state(machine) for machine in machines if machine.service == name),
            )
            for name in sorted(self._services)
        }

    async def list_services(self, request: Request) -> Response:
        """List services with their machines and requests."""
        self._auth.require(request)
        return json_response(await self.report())

    async def report(self) -> ServiceList:
        """All services as they are now. Raises LedgerUnavailable."""
        services = dict(self._services)
        loads, machines = await self._ledger.loads(), await self._ledger.machines()
        pools = {each.pool for each in services.values()}
        outlooks = {pool: await self._ledger.outlook(pool) for pool in sorted(pools)}
        return ServiceList(
            services=[
                ServiceStatus(
                    name=name,
                    pool=settings.pool,
                    waiting=loads.get(name, ServiceLoad()).waiting,
                    in_flight=loads.get(name, ServiceLoad()).in_flight,
                    concurrency=settings.concurrency,
                    withheld=self._refusal(name),
                    not_minted=outlooks[settings.pool].not_minted,
                    machines=[_status(machine) for machine in machines if machine.service == name],
                )
                for name, settings in sorted(services.items())
            ]
        )


def _state(machine: ServingMachine) -> str:
    return "draining" if machine.draining else machine.state


def _status(machine: ServingMachine) -> ServiceMachineStatus:
    return ServiceMachineStatus(
        worker=machine.worker_id,
        label=machine.label,
        state=_state(machine),
        in_flight=machine.held,
        idle_seconds=0.0 if machine.held else machine.unused_seconds,
        message=machine.message,
        log=machine.log,
    )
