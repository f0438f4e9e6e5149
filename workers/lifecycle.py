"""One process's life: call home, work, leave; what every end of it means for the exit code."""

from __future__ import annotations

import asyncio
import secrets
import signal
from contextlib import AsyncExitStack
from enum import IntEnum

import structlog

from workers.bench import Bench
from workers.client import ControlPlaneClient, Rejected, Unauthorized
from workers.concurrency import first_of
from workers.dispatcher import Dispatcher, Orphaned, Pace, Unfit
from workers.lease_task import Tools
from workers.protocol import Welcome
from workers.retry import Backoff
from workers.scratch import Scratch
from workers.settings import Settings
from workers.transfer import TransferClient

_log = structlog.get_logger()

HELLO_SECONDS = 600.0
"""To reach the control plane for the first time; from then on it says itself how long to wait for it."""


class Exit(IntEnum):
    """The agent's exit codes."""

    LEFT = 0
    """Idle, drained or told to."""
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

    def direct(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        if self._first.is_set():
            dispatcher.drain("signal")

    def _received(self, name: str) -> None:
        self._count += 1
        self._first.set()
        if self._dispatcher is not None:
            if self._count == 1:
                self._dispatcher.drain(name)
            else:
                self._dispatcher.abandon()


async def live(settings: Settings, pace: Pace | None = None) -> Exit:
    """The whole life of an agent. Nothing of it is left afterwards: no child, no file, no connection."""
    structlog.contextvars.bind_contextvars(**({"label": settings.label} if settings.label else {}))
    signals = _Signals()
    signals.listen()
    try:
        async with AsyncExitStack() as stack:
            tools = await _equip(settings, stack)
            welcome = await first_of(_call_home(tools.control), _gone(signals))
            if welcome is not None:
                await _work(welcome, tools, signals, pace)
    except (Unauthorized, Rejected) as error:
        _log.error("refused", error=error.message, hint="Mint another worker: a token calls home once.")
        return Exit.REFUSED
    except Orphaned as error:
        _log.error("orphaned", error=str(error))
        return Exit.ORPHANED
    except Unfit as error:
        _log.error("unfit", error=str(error))
        return Exit.UNFIT
    _log.info("left")
    return Exit.LEFT


async def _equip(settings: Settings, stack: AsyncExitStack) -> Tools:
    # Closed in reverse: children are dead before the folder that they wrote to is removed.
    scratch = stack.enter_context(Scratch(settings.work_dir))
    bench = Bench()
    stack.push_async_callback(bench.aclose)
    control = await stack.enter_async_context(ControlPlaneClient(settings.url, settings.token))
    store = TransferClient()
    stack.push_async_callback(store.aclose)
    return Tools(control=control, store=store, bench=bench, scratch=scratch)


async def _call_home(control: ControlPlaneClient) -> Welcome:
    instance = secrets.token_urlsafe(24)
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            return await Backoff().retrying()(control.hello, instance)
    except TimeoutError:
        raise Orphaned(f"The control plane has not answered for {HELLO_SECONDS:g} s.") from None


async def _gone(signals: _Signals) -> None:
    await signals.first()


async def _work(welcome: Welcome, tools: Tools, signals: _Signals, pace: Pace | None) -> None:
    structlog.contextvars.bind_contextvars(worker=welcome.worker)
    _log.info("ready", pool=welcome.pool, slots=welcome.slots)
    tools.bench.widen(welcome.slots)
    dispatcher = Dispatcher(welcome, tools, pace)
    signals.direct(dispatcher)
    await dispatcher.work()
