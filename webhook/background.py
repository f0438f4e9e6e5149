"""Everything that one control plane does beside requests: the loops of every replica, and those of the leader."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from pydantic import SecretStr

from webhook.callbacks.lines import callback_delivery
from webhook.calls.expiry import CallExpiry
from webhook.fleet.autoscaler import Autoscaler
from webhook.fleet.error_budget import ErrorBudget
from webhook.fleet.manual_workers import MANUAL, ManualWorkers
from webhook.leader import lead
from webhook.ledger.retention import Pruner
from webhook.ledger.wakeups import AUTOSCALER
from webhook.ledger_loops import keep_count_of_arrivals, reap, write_track_records
from webhook.loops import together
from webhook.sweep.deletions import DeletionChecker
from webhook.sweep.runner import Runner
from webhook.sweep.sweeper import Sweeper

if TYPE_CHECKING:
    from webhook.app import Services

_WAKE_SECONDS = 0.1
"""Between two times that work wakes the autoscaler."""
_LISTEN_SECONDS = 5.0


class Background:
    """Everything that one control plane does beside requests."""

    def __init__(self, services: Services, dsn: str, callback_secrets: SecretStr) -> None:
        self._services = services
        self._callback_secrets = callback_secrets
        self._dsn = dsn

    async def run(self, url: str, stop: asyncio.Event) -> None:
        """Run the loops of every replica, and those of the leader while this replica leads, until ``stop`` is set."""
        services, health = self._services, self._services.health
        checker = DeletionChecker(services.ledger, services.pipelines, services.store, services.remover, health)
        delivery = callback_delivery(services, self._callback_secrets)
        services.definitions.on_change.append(delivery.changed)
        loops = (
            services.wakeups.listen(self._dsn),
            services.wakeups.tick(services.ledger, lambda: list(services.pipelines.by_id)),
            checker.run(),
            services.conditions.watch(),
            services.catalogue.watch(),
            services.definitions.watch(health),
            services.senders.run(),
            services.proxy.sharing.run(),
            services.answers.watch(),
            services.settles.run(),
            delivery.run(),
            reap(services.ledger, services.metrics, health),
            write_track_records(services.ledger, health),
        )

        async def work(stopped: asyncio.Event) -> None:
            with services.metrics.leading.track_inprogress():
                await self._lead(url, stopped)

        await together(loops, lead(self._dsn, work, stop, health))

    async def _lead(self, url: str, stopped: asyncio.Event) -> None:
        """What one replica does for all: autoscaling, sweeps, pruning, the care for manual workers."""
        services, config, health = self._services, self._services.config, self._services.health
        sweeper = Sweeper(services.sweeps, services.store, services.pipelines, services.remover)
        runner = Runner(
            services.sweeps,
            sweeper,
            services.pipelines,
            config.sweep,
            done_days=config.retention.done_days,
            health=health,
        )
        manual_workers = ManualWorkers(services.fleet, services.definitions.pools.settings, health)
        pruner = Pruner(services.ledger, config.retention, health=health)
        loops = (
            manual_workers.run(),
            services.answers.expire(),
            runner.run(),
            pruner.run(),
            ErrorBudget(services.fleet, health).run(),
            keep_count_of_arrivals(services.ledger, health),
            CallExpiry(services.ledger, services.pipelines, services.store, config.server.calls_hours, health).run(),
        )
        try:
            await together(loops, self._autoscale(url, stopped))
        finally:
            await services.providers.renew()

    async def _wake(self, autoscaler: Autoscaler) -> None:
        """Have it look for work whenever objects become due, or requests of services begin to wait."""
        wakeups, pipelines = self._services.wakeups, self._services.pipelines
        while True:
            with wakeups.listening([*pipelines.by_id], AUTOSCALER) as wakeup:
                with contextlib.suppress(TimeoutError):  # pipelines may be others by then
                    async with asyncio.timeout(_LISTEN_SECONDS):
                        await wakeup.wait()
                        wakeups.has_orders(AUTOSCALER)  # they are known now
                        wakeup.clear()
                        autoscaler.wake()
                        await asyncio.sleep(_WAKE_SECONDS)
                if wakeup.is_set():
                    autoscaler.wake()

    async def _autoscale(self, url: str, stopped: asyncio.Event) -> None:
        """Run the autoscaler, and begin anew whenever pools change: rows and labels are all that it remembers."""
        services, server = self._services, self._services.config.server
        while not stopped.is_set():
            pools = services.definitions.pools.settings.now
            autoscaler = Autoscaler(
                services.fleet,
                {name: pool for name, pool in pools.items() if pool.is_minted},
                services.providers.by_name,
                url=url,
                tick_seconds=server.autoscale_seconds,
                manual=MANUAL,
                weights_bytes=services.weights_bytes,
                budget_usd_per_day=server.budget_usd_per_day,
                health=services.health,
            )
            over = asyncio.Event()
            running = asyncio.create_task(together((self._wake(autoscaler),), autoscaler.run(over)))
            ends = [
                asyncio.create_task(stopped.wait()),
                asyncio.create_task(services.definitions.pools_other_than(pools)),
            ]
            try:
                await asyncio.wait({running, *ends}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
                over.set()
                await running
