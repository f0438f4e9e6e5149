"""Runs one agent from its start to its exit code: calls home, works, leaves."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from enum import IntEnum
from functools import partial

import structlog

from workers.beginning import PRELOAD, Begun
from workers.bundles.worker_bundles import WorkerBundles
from workers.client import ControlPlaneClient, Rejected, Unauthorized
from workers.concurrency import first_of
from workers.credentials import StateFolder
from workers.dispatcher import Dispatcher, DispatcherSettings, Orphaned, Unfit
from workers.handler_gate import HandlerGate
from workers.lease_task import WorkerResources
from workers.models.cache import ModelCache
from workers.models.prefetch import prefetch
from workers.models.worker_models import WorkerModels
from workers.process_age import age_seconds
from workers.protocol import Welcome
from workers.retry import Backoff
from workers.sandbox.child import jail
from workers.sandbox.pool import Sandbox
from workers.servers.all_servers import HandlerServers
from workers.servers.references import References
from workers.services.worker_services import WorkerServices
from workers.settings import Settings
from workers.transfer import TransferClient

_log = structlog.get_logger()

HELLO_SECONDS = 600.0
"""To reach the control plane for the first time; from then on the limit is ``orphan_seconds`` of its welcome."""
_INVITE = "A worker that you start yourself needs a new invitation: set YURT_TOKEN to what `yurt invite` prints."


class Exit(IntEnum):
    """The agent's exit codes."""

    LEFT = 0
    """Idle, or drained by a signal or the control plane."""
    SETTINGS = 2
    """The environment is wrong."""
    REFUSED = 3
    """The token is refused: used by another process, revoked, or not of this control plane."""
    ORPHANED = 4
    """The control plane has been gone for too long."""
    UNFIT = 5
    """This machine cannot work."""


class _Signals:
    """SIGTERM and SIGINT: the first drains, the second abandons."""

    def __init__(self) -> None:
        self._count = 0
        self._first = asyncio.Event()
        self._dispatcher: Dispatcher | None = None

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received, number.name)

    async def first(self) -> None:
        await self._first.wait()

    def direct_to(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        if self._first.is_set():  # it came between the welcome and the dispatcher's start
            dispatcher.drain("signal")

    def _received(self, name: str) -> None:
        self._count += 1
        self._first.set()
        if self._dispatcher is not None:
            if self._count == 1:
                self._dispatcher.drain(name)
            else:
                self._dispatcher.abandon()


async def run_begun(settings: Settings, begun: Begun, dispatching: DispatcherSettings | None) -> Exit:
    """Run an agent that has begun until it leaves. See `workers.beginning.run_agent`."""
    structlog.contextvars.bind_contextvars(**({"label": settings.label} if settings.label else {}))
    signals = _Signals()
    signals.listen()
    try:
        async with AsyncExitStack() as stack:
            state = stack.enter_context(StateFolder(settings.state_dir))
            resources = await _open_resources(settings, begun, stack)
            welcome = await first_of(_call_home(resources.client, settings, state), _interrupted(signals))
            if welcome is not None:
                await _work(welcome, resources, signals, dispatching)
    except (Unauthorized, Rejected) as error:
        hint = _INVITE if isinstance(error, Unauthorized) else "Check YURT_URL, and the versions of both sides."
        _log.error("refused", url=settings.url, error=error.message, hint=hint)
        return Exit.REFUSED
    except Orphaned as error:
        _log.error("orphaned", error=str(error))
        return Exit.ORPHANED
    except Unfit as error:
        _log.error("unfit", error=str(error))
        return Exit.UNFIT
    _log.info("left")
    return Exit.LEFT


async def _open_resources(settings: Settings, begun: Begun, stack: AsyncExitStack) -> WorkerResources:
    scratch = begun.scratch
    if why := jail.support().missing:
        _log.warning("handlers are not jailed", reason=why)
    # With one slot, whose child warms up while the agent calls home and learns how many there are.
    sandbox = Sandbox(
        preload=PRELOAD,
        environment=begun.environment,
        models=settings.cache_dir,
        folder=begun.inference,
        first=begun.template,
    )
    stack.push_async_callback(sandbox.aclose)
    gate = HandlerGate()
    client = await stack.enter_async_context(ControlPlaneClient(settings.url, settings.token, handling=gate.report))
    transfer = TransferClient()
    stack.push_async_callback(transfer.aclose)
    servers = HandlerServers(scratch.folder("servers"), settings.handlers)
    stack.push_async_callback(servers.aclose)
    references = await stack.enter_async_context(References().serving())
    cache = ModelCache(settings.cache_dir, settings.cache_bytes)
    models = WorkerModels(cache, client)
    stack.push_async_callback(models.aclose)
    bundles = WorkerBundles(cache, client)
    stack.push_async_callback(bundles.aclose)
    services = WorkerServices(models, servers, client)
    stack.push_async_callback(services.aclose)
    return WorkerResources(
        client=client,
        transfer=transfer,
        sandbox=sandbox,
        scratch=scratch,
        models=models,
        bundles=bundles,
        gate=gate,
        handlers=settings.handlers,
        servers=servers,
        references=references,
        services=services,
        load_seconds=lambda: sandbox.load_seconds,
    )


async def _call_home(client: ControlPlaneClient, settings: Settings, state: StateFolder) -> Welcome:
    """Come back as the worker whose credential was kept, or else join as a new one."""
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            welcome = await _hello(client, [state.load(settings.url), settings.token], returns=state.keeps)
            state.save(settings.url, welcome.credential)
            return welcome
    except TimeoutError:
        raise Orphaned(f"The control plane has not answered for {HELLO_SECONDS:g} s.") from None


async def _hello(client: ControlPlaneClient, tokens: Sequence[str], *, returns: bool) -> Welcome:
    """Call home with the first of these tokens that is not refused. Raises Unauthorized where all are."""
    refused = Unauthorized("There is no credential of this worker, and no YURT_TOKEN.")
    for token in filter(None, tokens):
        client.use(token)
        # The same instance with each repetition: the control plane refuses a second process with the token.
        instance = secrets.token_urlsafe(24)
        try:
            hello = partial(
                client.hello, instance, returns=returns, unjailed=jail.support().missing, process_seconds=age_seconds()
            )
            welcome: Welcome = await Backoff().retrying()(hello)
            return welcome
        except Unauthorized as error:
            refused = error
    raise refused


async def _interrupted(signals: _Signals) -> None:
    """Return once the agent was told to leave."""
    await signals.first()


async def _work(
    welcome: Welcome, resources: WorkerResources, signals: _Signals, dispatching: DispatcherSettings | None
) -> None:
    structlog.contextvars.bind_contextvars(worker=welcome.worker)
    _log.info("ready", pool=welcome.pool, slots=welcome.slots)
    resources.sandbox.widen(welcome.slots)
    if resources.services is not None:
        resources.services.accept(welcome.services)
    if welcome.checks:  # while their weights come
        resources.sandbox.warm_models()
    if not await first_of(prefetch(welcome, resources), _interrupted(signals)):
        return
    dispatcher = Dispatcher(welcome, resources, dispatching)
    signals.direct_to(dispatcher)
    await dispatcher.work()
