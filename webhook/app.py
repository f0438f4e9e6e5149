"""Puts all parts of a control plane together: the one place that knows every part."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import structlog

from webhook.answers.later_answers import LaterAnswers
from webhook.api.answers import AnswerApi
from webhook.api.app_auth import AppAuth
from webhook.api.auth import AdminAuth, Credentials, WorkerAuth
from webhook.api.bootstrap import BootstrapApi
from webhook.api.bundles import BundleApi
from webhook.api.callbacks import CallbackApi
from webhook.api.calls import CallApi
from webhook.api.costs import CostApi
from webhook.api.deployments import DeploymentApi
from webhook.api.event_stream import EventApi
from webhook.api.foreign_pages import ForeignPages
from webhook.api.health import HealthApi
from webhook.api.lease_messages import LeaseMessages
from webhook.api.leases import LeaseApi
from webhook.api.machines import MachineApi
from webhook.api.models import ModelApi
from webhook.api.notifications import NotificationApi
from webhook.api.object_deletion import ObjectDeletionApi
from webhook.api.objects import ObjectApi
from webhook.api.openapi import openapi
from webhook.api.parked import ParkedApi
from webhook.api.passed_on import PassedOnRequests
from webhook.api.pools import PoolApi
from webhook.api.quarantine import QuarantineApi
from webhook.api.readers import Readers
from webhook.api.routes import Application, endpoints
from webhook.api.run_logs import RunLogApi
from webhook.api.service_status import ServiceStatusApi
from webhook.api.service_tunnel import ServiceTunnelApi
from webhook.api.services import ServiceApi
from webhook.api.sign_in_links import SignInLinkApi
from webhook.api.status import StatusApi
from webhook.api.sweeps import SweepApi
from webhook.api.tickets import TicketApi, TicketAuth
from webhook.api.tokens import TokenApi
from webhook.api.uploads import UploadApi
from webhook.api.workers import WorkersApi
from webhook.background import Background
from webhook.bundles import Bundles
from webhook.callbacks.lines import unsigned_callbacks
from webhook.callbacks.signatures import CallbackSecretError
from webhook.calls.calls import Calls
from webhook.config import Config, Definitions, Pipeline
from webhook.config_faults import ConfigError
from webhook.definitions.assembly import Assembly
from webhook.definitions.current import CurrentDefinitions
from webhook.fleet.provider_set import ProviderSet
from webhook.fleet.providers.kinds import make_providers
from webhook.javascript.served_module import BrowserModule
from webhook.ledger.answers import AnswerLedger
from webhook.ledger.app_tokens import AppTokens
from webhook.ledger.callbacks import CallbackOutbox
from webhook.ledger.certificates import LedgerCertificates
from webhook.ledger.database import Database, LedgerUnavailable, connect, disconnect, ledger_errors, starting
from webhook.ledger.distrust import Distrust
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.known_objects import KnownObjects
from webhook.ledger.ledger import Ledger
from webhook.ledger.migrations import check_server, migrate
from webhook.ledger.parked import ParkedObjects
from webhook.ledger.quarantine import QuarantinedTexts
from webhook.ledger.run_logs import RunLogs
from webhook.ledger.settles import SettleLog
from webhook.ledger.sign_in_links import SignInLinks
from webhook.ledger.sweeps import Sweeps
from webhook.ledger.uploads import UploadLedger
from webhook.ledger.wakeups import Wakeups
from webhook.loops import LoopHealth
from webhook.metrics import Metrics
from webhook.models.catalogue import ModelCatalogue
from webhook.outputs.conditions import Conditions
from webhook.outputs.publishing import Publishing
from webhook.outputs.removal import Remover
from webhook.page.live import LiveFeed
from webhook.page.page import open_page
from webhook.page.views import Apis
from webhook.pipelines import Pipelines
from webhook.proxy.proxy import ServiceProxy, make_proxy
from webhook.secret_settings import Secrets
from webhook.senders import Senders
from webhook.sources import Source, s3
from webhook.sources.b2 import B2
from webhook.sources.gcs import Gcs
from webhook.sources.s3 import S3
from webhook.sources.sns import Sns, Trust
from webhook.sources.sns_certificates import MOST
from webhook.sources.tigris import Tigris
from webhook.storage import ObjectStore, open_store
from webhook.uploads.places import UploadPlaces
from workers.handlers.registry import options_model

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Services:
    """What the endpoints and the background loops of one control plane share."""

    config: Config
    ledger: Ledger
    fleet: LedgerFleet
    store: ObjectStore
    definitions: CurrentDefinitions
    pipelines: Pipelines
    conditions: Conditions
    upload_places: UploadPlaces
    catalogue: ModelCatalogue
    bundles: Bundles
    remover: Remover
    publishing: Publishing
    sweeps: Sweeps
    wakeups: Wakeups
    settles: SettleLog
    senders: Senders
    providers: ProviderSet
    proxy: ServiceProxy
    answers: LaterAnswers
    metrics: Metrics
    health: LoopHealth

    def withheld(self, pipeline: Pipeline) -> str:
        """Why no work of a pipeline may be handed out, and what to do; empty where it may."""
        return self.conditions.refusal(pipeline) or self.catalogue.refusal(pipeline)

    def weights_bytes(self, pool: str) -> int:
        """How much a machine of a pool downloads before it works: the current models of its pipelines and services."""
        names = {*self.pipelines.models_of_pool(pool), *self.proxy.orders.models_of_pool(pool)}
        return sum(ref.size for ref in self.catalogue.refs(names))


@dataclass(frozen=True, slots=True)
class Plane:
    """A control plane over one ledger, ready to serve requests and to run its background loops."""

    services: Services
    app: Application
    health: HealthApi
    leases: LeaseApi
    notifications: NotificationApi
    live: LiveFeed
    """Browsers that watch the page."""
    events: EventApi
    objects: ObjectApi
    _background: Background = field(repr=False)

    async def run(self, url: str, stop: asyncio.Event) -> None:
        """Run everything that goes on beside requests until ``stop`` is set.

        ``url`` is where workers find this control plane.
        """
        await self._background.run(url, stop)

    async def leave(self) -> None:
        """Answer the long polls that wait, and write what was taken in."""
        self.health.leaving = True
        self.leases.close()
        await self.live.aclose()
        self.events.close()
        self.objects.close()
        # Notifications before settlements: an event that was taken in must be written, a settlement can be repeated.
        await self.notifications.aclose()
        await self.services.publishing.aclose()
        await self.services.conditions.aclose()
        await self.services.answers.aclose()
        await self.services.proxy.reach.aclose()
        await self.services.upload_places.aclose()
        with contextlib.suppress(LedgerUnavailable):  # else what it holds ends by itself
            await self.services.proxy.sharing.leave()
        await self.services.proxy.replicas.aclose()


async def prepare(dsn: str) -> None:
    """Bring the ledger's schema up to date. Raises LedgerUnavailable, LedgerUnusable, LedgerTooNew."""
    with starting():
        connection = await connect(dsn, pooled=True)  # each statement once: nothing to prepare for later
        try:
            with ledger_errors():
                await check_server(connection)
                await migrate(connection)
        finally:
            await disconnect(connection)


@contextlib.asynccontextmanager
async def open_plane(
    config: Config, secrets: Secrets, dsn: str, state: Path, trust: Trust | None = None
) -> AsyncIterator[Plane]:
    """Connect to ledger and store, and put the parts together.

    Args:
        config: What to watch, and on which machines to process it.
        secrets: Keys of the store, secrets of notifications and administrators.
        dsn: The ledger's PostgreSQL.
        state: A folder for local workers' files and logs.
        trust: Where SNS is and which topics are trusted; by default Amazon's and the configured ones.

    Raises:
        ConfigError, LedgerUnavailable, LedgerUnusable, LedgerTooNew

    """
    direct = secrets.direct_database_url.get_secret_value() or dsn
    await prepare(direct)
    async with contextlib.AsyncExitStack() as stack:
        with starting():
            database = await Database.connect(dsn, pooled=direct != dsn)
            stack.push_async_callback(database.aclose)
            definitions = CurrentDefinitions(database, Assembly(config, options_model, _further(secrets)))
            await definitions.start(f"yurt.toml of {socket.gethostname()}")
        ledger = Ledger(database, definitions.policies)
        store = open_store(secrets)
        stack.push_async_callback(store.aclose)
        providers = ProviderSet(lambda: make_providers(config, secrets, state))
        stack.push_async_callback(providers.aclose)
        services = _services(config, secrets, ledger, definitions, store, providers)
        yield _plane(services, secrets, direct, trust)


def _further(secrets: Secrets) -> Callable[[Definitions], Iterable[str]]:
    """Find what is wrong with definitions beside this replica's secrets."""

    def faults(definitions: Definitions) -> Iterable[str]:
        try:
            return list(unsigned_callbacks(definitions.pipelines, secrets.yurt_callback_secrets))
        except CallbackSecretError as error:
            raise ConfigError(str(error)) from None

    return faults


def _services(
    config: Config,
    secrets: Secrets,
    ledger: Ledger,
    definitions: CurrentDefinitions,
    store: ObjectStore,
    providers: ProviderSet,
) -> Services:
    health, pipelines = LoopHealth(), definitions.pipelines
    conditions, catalogue = Conditions(pipelines.all, store, health), ModelCatalogue(definitions.models, store, health)
    proxy = make_proxy(
        definitions.services, definitions.pools.settings, ledger, catalogue, health,
        key=secrets.common, url=config.server.replica_url,
    )  # fmt: skip
    fleet = LedgerFleet(
        ledger,
        owner=config.server.name,
        pipelines=lambda pool: [n for n in pipelines.of_pool(pool) if not services.withheld(pipelines.by_id[n][1])],
        slots=definitions.pools.slots,
        limits=definitions.pools.limits,
        services=proxy.orders.of_pool,
    )
    remover, metrics = Remover(store, pipelines.all), Metrics(health, definitions.pools.budgets)
    settles = SettleLog(ledger, health)
    services = Services(
        config=config,
        ledger=ledger,
        fleet=fleet,
        store=store,
        definitions=definitions,
        pipelines=pipelines,
        conditions=conditions,
        upload_places=UploadPlaces(store),
        catalogue=catalogue,
        bundles=Bundles(config.server, lambda: definitions.models, store),
        remover=remover,
        publishing=Publishing(ledger, pipelines, store, conditions, remover),
        sweeps=Sweeps(ledger),
        wakeups=Wakeups(health, settles.wake, definitions.notified),
        settles=settles,
        senders=Senders(ledger, metrics, health),
        providers=providers,
        proxy=proxy,
        answers=LaterAnswers(
            AnswerLedger(ledger),
            store,
            proxy.replica,
            config.server.answers,
            config.server.answers_hours * 3600.0,
            health,
        ),
        metrics=metrics,
        health=health,
    )
    definitions.on_change += [proxy.refresh, services.wakeups.wake, catalogue.changed]
    catalogue.on_change.append(services.wakeups.wake)  # workers that serve wait for their orders
    return services


def _plane(services: Services, secrets: Secrets, dsn: str, trust: Trust | None) -> Plane:
    config, ledger, pipelines = services.config, services.ledger, services.pipelines
    sources: dict[str, Source] = {source.name: source for source in (Tigris(), S3(), Gcs(), B2())}
    notifications = NotificationApi(
        ledger,
        pipelines,
        sources,
        None if config.server.open_webhook else Credentials(secrets.webhook_secrets),
        services.metrics,
        services.senders,
        body_limit_bytes=config.server.body_limit_bytes,
        backlog_events=config.server.backlog_events,
        signed={s3.NAME: Sns(trust or Trust(frozenset(config.server.sns_topics)), LedgerCertificates(ledger, MOST))},
    )
    worker_auth = WorkerAuth(services.fleet)
    leases = LeaseApi(
        ledger,
        services.fleet,
        pipelines,
        services.definitions.pools.settings,
        services.publishing,
        LeaseMessages(services.store.presigner, services.catalogue),
        services.wakeups,
        services.metrics,
        worker_auth,
        services.catalogue,
        services.proxy.orders,
        services.withheld,
        RunLogs(ledger),
    )
    admin_token = secrets.yurt_admin_token.get_secret_value()
    admin_credentials = Credentials([admin_token] if admin_token else [])
    admin, app_tokens = AdminAuth(admin_credentials), AppTokens(ledger)
    app_auth = AppAuth(app_tokens, admin_credentials)
    service_status = ServiceStatusApi(
        services.definitions.services, services.proxy.ledger, services.proxy.orders.refusal, admin
    )
    status = StatusApi(
        ledger, services.fleet, services.definitions, config.server, services.withheld, admin, services.health,
        service_status.loads,
    )  # fmt: skip
    health = HealthApi(ledger, services.metrics, services.health)
    parked = ParkedApi(ParkedObjects(ledger), admin)
    quarantine = QuarantineApi(QuarantinedTexts(ledger), sources, pipelines, admin)
    sweeps = SweepApi(services.sweeps, pipelines, config.sweep, admin)
    workers = WorkersApi(Distrust(ledger), admin)
    machines = MachineApi(ledger, services.fleet, services.providers, admin)
    costs = CostApi(ledger, admin)
    models = ModelApi(services.fleet, pipelines, services.proxy.orders, services.catalogue, worker_auth)
    pools = PoolApi(services.fleet, services.definitions.pools.settings, app_auth)
    bootstrap = BootstrapApi(services.fleet)
    tokens = TokenApi(app_tokens, admin, app_auth)
    deployments = DeploymentApi(services.definitions, services.bundles.there, admin)
    pages = ForeignPages(config.server.host, config.server.public_url)
    proxied = ServiceApi(
        services.proxy.queues, services.proxy.ledger, services.proxy.orders.refusal, app_auth, worker_auth,
        services.metrics, pages=pages, is_proxy=functools.lru_cache(4_096)(config.server.is_proxy),
        passed_on=PassedOnRequests(services.proxy.ledger, services.proxy.registry), answers=services.answers,
    )  # fmt: skip
    services.definitions.on_change.append(proxied.refresh)
    bundles = BundleApi(services.bundles, pipelines, ledger, admin, worker_auth)
    calls = CallApi(Calls(ledger, pipelines, services.store), app_auth)
    tunnels = ServiceTunnelApi(worker_auth, services.proxy.admits, services.proxy.registry)
    kept_uploads = UploadLedger(ledger)
    ticket_auth = TicketAuth(kept_uploads)
    uploads = UploadApi(kept_uploads, pipelines, services.store, services.upload_places, app_auth, ticket_auth)
    readers = Readers(app_auth, ticket_auth, pipelines)
    events = EventApi(services.settles, pipelines, readers)
    objects = ObjectApi(KnownObjects(ledger), pipelines, services.store, readers, services.settles)
    callbacks = CallbackApi(CallbackOutbox(ledger), pipelines, admin)
    table = endpoints(
        notifications, leases, status, health, parked, quarantine, sweeps, workers, machines, costs,
        RunLogApi(RunLogs(ledger), pipelines, admin), models, pools,
        bootstrap, tokens, SignInLinkApi(SignInLinks(ledger), admin), bundles, calls,
        TicketApi(kept_uploads, pipelines, app_auth), uploads, events, deployments, proxied, service_status, callbacks,
        objects, AnswerApi(services.answers, app_auth), ObjectDeletionApi(pipelines, services.store, app_auth),
    )  # fmt: skip
    page = open_page(
        config.server, secrets, ledger, services.definitions, services.store, services.upload_places, services.settles,
        status, Apis(machines, parked, quarantine, costs, sweeps, service_status, deployments, callbacks, tokens),
        pages,
    )  # fmt: skip
    health.document = functools.cache(functools.partial(openapi, table, version("yurt")))
    return Plane(
        services,
        Application(
            table,
            pages,
            proxied,
            [*page.routes, *BrowserModule().routes],
            open_webhook=config.server.open_webhook,
            sockets=[("/v1/services/{name}/tunnel", tunnels)],
        ),
        health,
        leases,
        notifications,
        page.feed,
        events,
        objects,
        Background(services, dsn, secrets.yurt_callback_secrets),
    )
