"""Wakes long polls when objects become due, by PostgreSQL's LISTEN/NOTIFY and by a slow tick.

Each transaction that makes objects due sends one notification. The tick covers what no notification announces: objects
that become due by the passing of time (retries), and notifications lost with a connection. So wakeups only shorten
waits; correctness does not depend on them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from webhook.ledger.database import CONNECT_SECONDS, connect, disconnect, ledger_errors
from webhook.ledger.definitions import CHANNEL as DEFINITIONS
from webhook.ledger.ledger import CHANNEL, Ledger
from webhook.loops import LoopHealth

TICK_SECONDS = 0.5
ORDERS = "yurt_orders"
"""PostgreSQL's channel on which workers are named that have other orders of services."""
AUTOSCALER = 0
"""Number that is no worker's: named on that channel when requests of a service begin to wait for a machine."""
PING_SECONDS = 10.0
"""Between two pings of the connection that listens: one that only reads never notices that its server has vanished."""
_RECONNECT_SECONDS = 1.0
SETTLED_CHANNEL = "yurt_settled"
"""NOTIFY channel. The payload is the last position of the log of settled objects."""


class Wakeup(asyncio.Event):
    """Wakes one long poll."""

    ordered = False
    """Whether the worker has other orders of services now."""


class Wakeups:
    """Long polls that wait for due objects, by pipeline number, or for orders of services, by worker."""

    def __init__(
        self,
        health: LoopHealth | None = None,
        settled: Callable[[], None] = lambda: None,
        definitions_changed: Callable[[], None] = lambda: None,
    ) -> None:
        """``settled`` is called when the log of settled objects has grown, ``definitions_changed`` at changes."""
        self._settled = settled
        self._health = health or LoopHealth()
        self._definitions_changed = definitions_changed
        self._all: set[Wakeup] = set()
        self._listening: dict[int, set[Wakeup]] = {}
        self._workers: dict[int, set[Wakeup]] = {}
        self._ordered: set[int] = set()
        """Workers that have other orders, and have not been told."""
        self.trials: frozenset[int] = frozenset()
        """Pipelines in which objects on trial were due at the last tick."""
        self.waiting = 0
        """Long polls that have found no work and wait for a wakeup."""

    @contextlib.contextmanager
    def listening(self, pipelines: Sequence[int], worker_id: int = 0) -> Iterator[Wakeup]:
        """Yield an event that is set when objects become due in one of the pipelines, or the worker has other orders.

        Claim after this, not before: an object that becomes due between a claim and the listening would be missed.
        """
        wakeup = Wakeup()
        self._all.add(wakeup)
        self._workers.setdefault(worker_id, set()).add(wakeup)
        if worker_id in self._ordered:
            wakeup.ordered = True
            wakeup.set()
        for pipeline_id in pipelines:
            self._listening.setdefault(pipeline_id, set()).add(wakeup)
        try:
            yield wakeup
        finally:
            self._all.discard(wakeup)
            for pipeline_id in pipelines:
                self._listening[pipeline_id].discard(wakeup)
            self._workers[worker_id].discard(wakeup)
            if not self._workers[worker_id]:
                del self._workers[worker_id]

    def has_orders(self, worker_id: int) -> bool:
        """Whether a worker was given other orders since this was last asked for it."""
        known = worker_id in self._ordered
        self._ordered.discard(worker_id)
        return known

    def order(self, workers: Iterable[int]) -> None:
        """Wake the long polls of workers that have other orders."""
        for worker_id in workers:
            self._ordered.add(worker_id)
            for wakeup in self._workers.get(worker_id, ()):
                wakeup.ordered = True
                wakeup.set()

    async def wait(self, wakeup: asyncio.Event, timeout_seconds: float) -> bool:
        """Wait for a wakeup. Returns False after the timeout."""
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout_seconds):
                await wakeup.wait()
        except TimeoutError:
            return False
        finally:
            self.waiting -= 1
        return True

    def wake(self, pipelines: Iterable[int] | None = None) -> None:
        """Wake the long polls that listen to these pipelines, or all of them (None)."""
        for wakeup in self._all if pipelines is None else self._of(pipelines):
            wakeup.set()

    def _of(self, pipelines: Iterable[int]) -> Iterator[asyncio.Event]:
        for pipeline_id in pipelines:
            yield from self._listening.get(pipeline_id, ())

    async def tick(self, ledger: Ledger, pipelines: Callable[[], Sequence[int]]) -> None:
        """Wake long polls for objects that became due by the passing of time, until cancelled.

        Objects on trial are looked for in all of ``pipelines()``, and nowhere else: they are few, and a request for
        work has no time to look for what is seldom there.
        """
        while True:
            await asyncio.sleep(TICK_SECONDS)
            with self._health.turn("due objects"):
                self.trials = frozenset(row["id"] for row in await ledger.fetch("due", pipelines(), "trial"))
                self.wake(self.trials)
                if listened := [pipeline_id for pipeline_id, wakeups in self._listening.items() if wakeups]:
                    self.wake(row["id"] for row in await ledger.fetch("due", listened, "work"))

    async def listen(self, dsn: str) -> None:
        """Receive PostgreSQL's notifications over a connection of its own and reconnect, until cancelled."""
        while True:
            with self._health.turn("wakeups"):
                await self._listen_until_lost(dsn)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen_until_lost(self, dsn: str) -> None:
        """Raises LedgerUnavailable."""
        connection = await connect(dsn, statement_seconds=CONNECT_SECONDS)
        try:
            with ledger_errors():
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _: lost.set())
                await connection.add_listener(CHANNEL, self._received)
                await connection.add_listener(DEFINITIONS, lambda *_: self._definitions_changed())
                await connection.add_listener(ORDERS, self._received_orders)
                await connection.add_listener(SETTLED_CHANNEL, lambda *_: self._settled())
                self._health.works("wakeups")
                self.order([*self._workers])
                self.wake()  # for notifications that came while there was no connection
                self._definitions_changed()
                while not lost.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PING_SECONDS):
                            await lost.wait()
                    await connection.execute(
                        f"listen {CHANNEL}; listen {ORDERS}"
                    )  # again: refused where the server is now a replica
        finally:
            await disconnect(connection)

    def _received_orders(self, _connection: object, _process: int, _channel: str, payload: object) -> None:
        self.order(int(worker_id) for worker_id in str(payload).split(","))

    def _received(self, _connection: object, _process: int, _channel: str, payload: object) -> None:
        self.wake(int(pipeline_id) for pipeline_id in str(payload).split(","))
