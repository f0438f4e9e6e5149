"""Replicas of the control plane: the real receiver, lease API, checker and reaper over simulated dependencies."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from tests.simulation.bucket import INPUT, OUTPUT
from tests.simulation.database import Engine, SimulatedDatabase
from tests.simulation.process import SimulatedProcess
from tests.simulation.store_clients import SimulatedBuckets, SimulatedObjectStore
from tests.simulation.sweeps import sweep
from tests.simulation.world import World, WorldSettings
from webhook.api.auth import WorkerAuth
from webhook.api.http import on_problem
from webhook.api.lease_messages import LeaseMessages
from webhook.api.leases import LeaseApi
from webhook.api.notifications import NotificationApi
from webhook.config import Config, Pipeline
from webhook.definitions.current import policy_of
from webhook.ledger.callers import Caller
from webhook.ledger.clock import NOTICED_SECONDS, follow_clock
from webhook.ledger.coalescing import Verdict
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import SECOND_OPINION_SECONDS, Ledger, ReceivedEvents
from webhook.ledger.machines import HandlingReport
from webhook.ledger.run_logs import EndedRun, RunLogs
from webhook.ledger.services import ServiceLedger
from webhook.ledger.wakeups import Wakeups
from webhook.metrics import Metrics
from webhook.models.catalogue import ModelCatalogue
from webhook.outputs.conditions import Conditions
from webhook.outputs.publishing import Publishing
from webhook.outputs.removal import Remover
from webhook.pipelines import Pipelines
from webhook.pool_settings import Pool
from webhook.proxy.orders import OrderBook
from webhook.senders import Senders
from webhook.sources import Batch
from webhook.sources.s3 import S3
from webhook.sources.tigris import Tigris
from webhook.sweep.deletions import DeletionChecker

PIPELINE = 1
LEASE_SECONDS = 30.0
LEASE_SPANS = 3
_REAP_SECONDS = 1.0
_SECOND_OPINION_MICROS = round(SECOND_OPINION_SECONDS * 1e6)
_POOL = "local"

Answer = tuple[int, dict[str, str], bytes]


@lru_cache(maxsize=64)
def config(replica_lag_seconds: float, on_delete: str, absent_checks: int, trusted: bool) -> Config:
    """A configuration with one pipeline and short times."""
    pipeline = {
        "input": f"s3://{INPUT}",
        "output": f"s3://{OUTPUT}",
        "lease_seconds": LEASE_SECONDS,
        "lease_spans": LEASE_SPANS,
        "timeout_seconds": 20.0,
        "attempts": 3,
        "store_attempts": 200,
        "absent_checks": absent_checks,
        "backoff_seconds": 1.0,
        "backoff_limit_seconds": 8.0,
        "replica_lag_seconds": replica_lag_seconds,
        "on_delete": on_delete,
        "conditions": "quoted",
        "unsigned_headers": "trust",
    }
    return Config.model_validate({"pipelines": {"photos": pipeline}, "pools": {_POOL: {"trusted": trusted}}})


def config_of(settings: WorldSettings) -> Config:
    """The configuration of a world."""
    trusted = not settings.hostile
    return config(settings.replica_lag_seconds, settings.on_delete, settings.absent_checks, trusted)


def pipeline_of(settings: WorldSettings) -> Pipeline:
    """The pipeline of a world."""
    return config_of(settings).pipelines["photos"]


@lru_cache(maxsize=1)
def _metrics() -> Metrics:
    return Metrics()


_PAUSE_SECONDS = 4.0
"""Shorter than in the ledger: a history has a minute."""


class SimulatedFleet:
    """Authenticates workers by their number; their registration is not simulated. Keeps their pauses in the world."""

    def __init__(self, world: World, engine: Engine) -> None:
        self._world = world
        self._engine = engine

    async def authenticate(self, token: str) -> Caller | None:
        id, now = int(token), self._world.now
        if id not in self._world.tables.ready:
            return None
        retries = {pipeline: at for (worker, pipeline), at in self._world.pauses.items() if worker == id}
        paused = frozenset(pipeline for pipeline, at in retries.items() if at > now)
        return Caller(id, _POOL, f"worker-{token}", False, paused, frozenset(retries) - paused)

    async def handler_unavailable(self, id: int, pipeline_id: int, _message: str) -> None:
        self._world.counts["pauses"] += 1
        self._world.pauses[id, pipeline_id] = self._world.now + _PAUSE_SECONDS

    async def handler_available(self, id: int, pipeline_id: int) -> None:
        self._world.pauses.pop((id, pipeline_id), None)

    async def active(self, id: int, handling: HandlingReport | None, *, result: bool = False) -> None:
        assert handling is not None
        self._run("active", id, handling.tokens, handling.alone, handling.number, result)

    async def report_handling(self, id: int, handling: HandlingReport) -> None:
        self._run("report_handling", id, handling.tokens, handling.alone, handling.number)

    def _run(self, name: str, *arguments: object) -> None:
        self._engine.begin()
        self._engine.run(name, *arguments)
        self._engine.commit()


@dataclass
class SimulatedPlane:
    """The parts of one replica, until its process dies."""

    process: SimulatedProcess
    buckets: SimulatedBuckets
    database: SimulatedDatabase
    engine: Engine
    wakeups: Wakeups = field(default_factory=Wakeups)
    ledger: Ledger = field(init=False)
    receiver: NotificationApi = field(init=False)
    leases: LeaseApi = field(init=False)
    checker: DeletionChecker = field(init=False)
    store: SimulatedObjectStore = field(init=False)
    remover: Remover = field(init=False)
    pipelines: Pipelines = field(init=False)
    flushing: list[ReceivedEvents] = field(default_factory=list)

    def __post_init__(self) -> None:
        world = self.process.world
        settings = world.settings
        whole = config_of(settings)
        pipeline = pipeline_of(settings)
        self.ledger = Ledger(
            self.database,
            {PIPELINE: policy_of(whole, "photos")},
            jitter=lambda: world.draws.unit("jitter"),
            shard=0,
        )
        self.pipelines = WatchedPipelines({PIPELINE: ("photos", pipeline)}, world.invariants.parsed)
        self.store = SimulatedObjectStore(self.process, self.buckets)
        self.remover = Remover(self.store, self.pipelines.all)
        self.receiver = NotificationApi(
            cast("Ledger", self), self.pipelines, {"tigris": Tigris(), "s3": S3()}, None, _metrics(),
            Senders(self.ledger, _metrics()), body_limit_bytes=1 << 20, backlog_events=10_000,
        )  # fmt: skip
        self.leases = make_leases(self)
        self.checker = make_checker(self)

    async def record(self, intakes: Sequence[ReceivedEvents]) -> Sequence[Counter[Verdict]]:
        """Record with the ledger, and keep the intakes for the invariants."""
        self.flushing = list(intakes)
        return await self.ledger.record(intakes)

    async def notify(self, body: bytes) -> Answer:
        """Handle ``POST /v1/notifications/{source}``."""
        source = "s3" if self.process.world.settings.payload == "ceph" else "tigris"
        return await _respond(self.receiver.notify, "", {"source": source}, body)

    async def call(self, token: str, path: str, body: bytes) -> Answer:
        """Handle a request of a worker."""
        kind, _, rest = path.partition("/")
        assert kind == "leases"
        id, _, verb = rest.partition("/")
        self.wakeups.trials = self._trials()
        method = getattr(self.leases, verb or "lease")
        return await _respond(method, token, {"id": id}, body)

    def _trials(self) -> frozenset[int]:
        """What a tick would have found: ticks are not simulated."""
        world = self.process.world
        rows = (row for row in world.tables.objects.values() if row.lane == "trial" and row.state == "pending")
        return frozenset(row.pipeline_id for row in rows if row.due_at <= world.ledger_micros)

    async def check(self) -> None:
        """Run the deletion checker whenever an object is due."""
        while True:
            await self._until_due("check")
            with contextlib.suppress(LedgerUnavailable):
                await self.checker.check()

    async def reap(self) -> None:
        """Run the reaper whenever a lease has expired."""
        world = self.process.world
        tables = world.tables
        while True:
            deadlines = [row.deadline or 0 for row in tables.objects.values() if row.state == "leased"]
            first = min(deadlines, default=None)
            if first is None or first >= world.ledger_micros:
                await world.next_step(
                    None if first is None else max(_REAP_SECONDS, (first - world.ledger_micros) / 1e6 + 0.001)
                )
                continue
            with contextlib.suppress(LedgerUnavailable):
                world.counts["reaped"] += await self.ledger.reap()
            await asyncio.sleep(_REAP_SECONDS)

    async def follow_clock(self) -> None:
        """Follow the database's clock whenever it was set back."""
        world = self.process.world
        while True:
            if world.tables.latest_reading - world.ledger_micros <= NOTICED_SECONDS * 1e6:
                await world.next_step(None)
                continue
            with contextlib.suppress(LedgerUnavailable):
                await follow_clock(self.ledger.database)
            await asyncio.sleep(_REAP_SECONDS)

    async def _until_due(self, lane: str) -> None:
        await until_due(self.process, lane)


async def until_due(process: SimulatedProcess, *lanes: str, worker_id: int = 0) -> None:
    """Wait until an object of one of the lanes is due. Polls that would find none are not simulated.

    ``worker_id``: the worker that asks; what it alone gave up is due for it later.
    """
    world = process.world
    while True:
        rows = (row for row in world.tables.objects.values() if row.state == "pending" and row.lane in lanes)
        due = [row.due_at + (_SECOND_OPINION_MICROS if row.given_up_by == worker_id else 0) for row in rows]
        first = min(due, default=None)
        if first is not None and first <= world.ledger_micros:
            return
        await world.next_step(None if first is None else (first - world.ledger_micros) / 1e6 + 0.000001)


def make_leases(plane: SimulatedPlane) -> LeaseApi:
    """The lease API of a replica."""
    conditions, catalogue = Conditions(plane.pipelines.all, plane.store), ModelCatalogue({}, plane.store)
    fleet = cast("LedgerFleet", SimulatedFleet(plane.process.world, plane.engine))
    return LeaseApi(
        plane.ledger,
        fleet,
        plane.pipelines,
        {_POOL: Pool()},
        Publishing(plane.ledger, plane.pipelines, plane.store, conditions, plane.remover),
        LeaseMessages(plane.store.presigner, catalogue),
        plane.wakeups,
        _metrics(),
        WorkerAuth(fleet),
        catalogue,
        OrderBook({}, {}, catalogue, ServiceLedger(plane.ledger), b""),
        conditions.refusal,
        cast("RunLogs", NoRunLogs()),
    )


class NoRunLogs:
    """Keeps no logs of runs: nothing is decided by them, so no promise is about them."""

    async def add(self, run: EndedRun) -> None: ...


def make_checker(plane: SimulatedPlane) -> DeletionChecker:
    """The deletion checker of a replica."""
    return DeletionChecker(plane.ledger, plane.pipelines, plane.store, plane.remover)


class WatchedPipelines(Pipelines):
    """Pipelines that report each intake, so that the invariants know its request."""

    def __init__(self, pipelines: Mapping[int, tuple[str, Pipeline]], parsed: Callable[[ReceivedEvents], None]) -> None:
        super().__init__(pipelines)
        self._parsed = parsed

    def route(self, batch: Batch) -> ReceivedEvents:
        intake = super().route(batch)
        self._parsed(intake)
        return intake


async def run(process: SimulatedProcess, buckets: SimulatedBuckets, engine: Engine) -> None:
    """Run a replica until its process dies."""
    plane = SimulatedPlane(process, buckets, SimulatedDatabase(process, engine), engine)
    plane.database.committed = lambda: process.world.invariants.committed(plane)
    process.world.planes[process.name] = plane
    await asyncio.gather(plane.check(), plane.reap(), plane.follow_clock(), sweep(plane, engine))


async def _respond(
    endpoint: Callable[[Request], Awaitable[Response]], token: str, parameters: dict[str, str], body: bytes
) -> Answer:
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    scope = {"type": "http", "method": "POST", "headers": headers, "path_params": parameters}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    try:
        response = await endpoint(Request(scope, receive))
    except Exception as error:
        response = on_problem(error)
    return response.status_code, {}, bytes(response.body)


__all__ = ["ReceivedEvents", "SimulatedPlane", "run"]
