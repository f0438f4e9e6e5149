"""The one place where all parts are put together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import asyncpg
import structlog

from webhook.api.health import HealthApi
from webhook.api.http import Credentials
from webhook.api.leases import LeaseApi
from webhook.api.notifications import NotificationApi
from webhook.api.parked import ParkedApi
from webhook.api.quarantine import QuarantineApi
from webhook.api.routes import Application, endpoints, openapi
from webhook.api.status import StatusApi
from webhook.api.sweeps import SweepApi
from webhook.config import Config, Secrets
from webhook.fleet.autoscaler import Autoscaler
from webhook.fleet.fleet import PoolPolicy
from webhook.fleet.manual_workers import MANUAL, forget_silent
from webhook.fleet.providers import Provider
from webhook.fleet.providers.local import LocalProvider
from webhook.leader import lead
from webhook.ledger.database import CONNECT_SECONDS, GONE, Database, LedgerUnavailable
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import Ledger, pipeline_id
from webhook.ledger.migrations import migrate
from webhook.ledger.parked import ParkedObjects
from webhook.ledger.quarantine import QuarantinedTexts
from webhook.ledger.retention import Pruner
from webhook.ledger.sweeps import Sweeps
from webhook.ledger.transitions import Policy
from webhook.ledger.wakeups import Wakeups
from webhook.metrics import Metrics
from webhook.outputs.conditions import Conditions
from webhook.outputs.removal import Remover
from webhook.pipelines import Pipelines
from webhook.sources import Source, s3
from webhook.sources.gcs import Gcs
from webhook.sources.s3 import S3
from webhook.sources.sns import Sns, Trust
from webhook.sources.tigris import Tigris
from webhook.storage import ObjectStore, open_store
from webhook.sweep.deletions import DeletionChecker
from webhook.sweep.runner import Runner
from webhook.sweep.sweeper import Sweeper
from workers.handlers.registry import validate_options

log = structlog.get_logger()

_REAP_SECONDS = 1.0
_GUESTS_SECONDS = 5.0

__all__ = ["Plane", "open_plane", "validate_options"]


@dataclass(frozen=True, slots=True)
class Plane:
    """A control plane over one ledger, ready to serve and to be told its own address."""

    app: Application
    health: HealthApi
    leases: LeaseApi
    receiver: NotificationApi
    ledger: Ledger
    _run: Callable[[str, asyncio.Event], Awaitable[None]]

    async def run(self, url: str, stop: asyncio.Event) -> None:
        """All that goes on beside requests, until ``stop``. ``url`` is where workers find this control plane."""
        await self._run(url, stop)

    async def leave(self) -> None:
        """Answer what waits, write what was taken in."""
        self.health.leaving = True
        self.leases.close()
        await self.receiver.aclose()
        await self.leases.aclose()


async def prepare(dsn: str) -> None:
    """Bring the ledger's schema up to date. Raises LedgerUnavailable, LedgerTooNew."""
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
        try:
            await migrate(connection)
        finally:
            await connection.close(timeout=CONNECT_SECONDS)
    except GONE as error:
        raise LedgerUnavailable(f"the database does not answer: {str(error) or type(error).__name__}") from None


@contextlib.asynccontextmanager
async def open_plane(
    config: Config, secrets: Secrets, dsn: str, state: Path, trust: Trust | None = None
) -> AsyncIterator[Plane]:
    """Connect to ledger and store, and put the parts together. ``state`` is a folder for local workers' logs.

    ``trust`` says where SNS is, by default at Amazon's.

    Raises LedgerUnavailable, LedgerTooNew.
    """
    await prepare(dsn)
    async with contextlib.AsyncExitStack() as stack:
        database = await Database.connect(dsn)
        stack.push_async_callback(database.aclose)
        numbered = {await pipeline_id(database, n, p.input.bucket): (n, p) for n, p in config.pipelines.items()}
        ledger = Ledger(database, {number: policy_of(config, name) for number, (name, _) in numbered.items()})
        store = open_store(secrets)
        stack.push_async_callback(store.aclose)
        yield _assemble(config, secrets, dsn, state, ledger, Pipelines(numbered), store, trust)


def _assemble(
    config: Config,
    secrets: Secrets,
    dsn: str,
    state: Path,
    ledger: Ledger,
    watched: Pipelines,
    store: ObjectStore,
    trust: Trust | None,
) -> Plane:
    metrics = Metrics()
    doorbell = Wakeups()
    conditions = Conditions(config.pipelines.values(), store)
    fleet = LedgerFleet(
        ledger,
        owner=config.server.name,
        pipelines=lambda pool: [n for n in watched.of_pool(pool) if not conditions.refusal(watched.pipelines[n][1])],
        slots={name: pool.slots for name, pool in config.pools.items()},
    )
    sources: dict[str, Source] = {source.name: source for source in (Tigris(), S3(), Gcs())}
    receiver = NotificationApi(
        ledger,
        watched,
        sources,
        None if config.server.open_webhook else Credentials(secrets.webhook_secrets),
        metrics,
        body_limit_bytes=config.server.body_limit_bytes,
        backlog_events=config.server.backlog_events,
        signed={s3.NAME: Sns(trust or Trust(frozenset(config.server.sns_topics)))},
    )
    leases = LeaseApi(ledger, fleet, watched, config.pools, store, conditions, doorbell, metrics)
    admin_token = secrets.yurt_admin_token.get_secret_value()
    admin = StatusApi(ledger, fleet, config, conditions, Credentials([admin_token] if admin_token else []))
    health = HealthApi(ledger, metrics)
    parked = ParkedApi(ParkedObjects(ledger), admin.authorize)
    quarantine = QuarantineApi(QuarantinedTexts(ledger), sources, watched, admin.authorize)
    sweeps = Sweeps(ledger)
    desk = SweepApi(sweeps, watched, config.sweep, admin.authorize)
    sweeper = Sweeper(sweeps, store, watched, Remover(store, list(config.pipelines.values())))
    table = endpoints(receiver, leases, admin, health, parked, quarantine, desk)
    health.document = openapi(table, version("yurt"))
    app = Application(table)

    async def run(url: str, stop: asyncio.Event) -> None:
        async def leading(over: asyncio.Event) -> None:
            metrics.leading.set(1)
            try:
                runner = Runner(sweeps, sweeper, watched, config.sweep, done_days=config.retention.done_days)
                await _lead(config, fleet, url, state, over, (runner.run(), Pruner(ledger, config.retention).run()))
            finally:
                metrics.leading.set(0)

        checker = DeletionChecker(ledger, watched, store)
        loops = (
            doorbell.listen(dsn), doorbell.tick(ledger), checker.run(), conditions.watch(), _reap(ledger, metrics)
        )  # fmt: skip
        await _together(loops, lead(dsn, leading, stop))

    return Plane(app, health, leases, receiver, ledger, run)


async def _together(loops: tuple[Awaitable[None], ...], until: Awaitable[None]) -> None:
    """Run endless loops for as long as ``until`` takes. A loop that fails ends all: that is a bug to be seen."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_coroutine(loop)) for loop in loops]
        await until
        for task in tasks:
            task.cancel()


async def _coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


async def _reap(ledger: Ledger, metrics: Metrics) -> None:
    while True:
        with contextlib.suppress(LedgerUnavailable):
            if taken := await ledger.reap():
                metrics.reaped.inc(taken)
                log.warning("leases expired", leases=taken)
        await asyncio.sleep(_REAP_SECONDS)


async def _lead(
    config: Config, fleet: LedgerFleet, url: str, state: Path, over: asyncio.Event, loops: tuple[Awaitable[None], ...]
) -> None:
    """The autoscaler, the care for workers started by hand, and other endless loops."""
    providers: dict[str, Provider] = {
        "local": LocalProvider(config.server.name, state / "workers", logs=True),
    }
    scaler = Autoscaler(
        fleet, _pool_policies(config, url), providers, tick_seconds=config.server.autoscale_seconds, by_hand=MANUAL
    )
    try:
        await _together((_guests(config, fleet), *loops), scaler.run(over))
    finally:
        for provider in providers.values():
            await provider.aclose()


async def _guests(config: Config, fleet: LedgerFleet) -> None:
    while True:
        with contextlib.suppress(LedgerUnavailable):
            await forget_silent(fleet, config.pools)
        await asyncio.sleep(_GUESTS_SECONDS)


def policy_of(config: Config, name: str) -> Policy:
    """The ledger's policy for a pipeline."""
    pipeline = config.pipelines[name]
    return Policy(
        attempts=pipeline.attempts,
        store_attempts=pipeline.store_attempts,
        absent_checks=pipeline.absent_checks,
        backoff_seconds=pipeline.backoff_seconds,
        backoff_limit_seconds=pipeline.backoff_limit_seconds,
        replica_lag_seconds=pipeline.replica_lag_seconds,
        restores=pipeline.restore_days > 0,
    )


def _pool_policies(config: Config, url: str) -> list[PoolPolicy]:
    return [
        PoolPolicy(
            name=name,
            provider=pool.provider,
            url=url,
            **pool.model_dump(exclude={"provider"}),
        )
        for name, pool in config.pools.items()
        if pool.provider != "none"
    ]
