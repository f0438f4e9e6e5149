"""Autoscaler: mints machines where work waits, drains and slays them where it does not, and loses none of them.

Each provider has a loop of its own (`webhook.fleet.provider_loop`), so that one that hangs holds up no other. A turn of
it asks the provider for its list, then the ledger for its rows, in this order: all that the list shows was intended
before, so a label without a row is an unknown machine. Then `decide` turns what is known of each pool into actions
(`webhook.fleet.pool_loop`), which are carried out all at once, each with a deadline.

Nothing remembered here matters after a crash: rows and labels are the memory. Only the breakers start closed. How
minting goes is written to the ledger (`Fleet.report`), so that every replica can show it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict

import structlog

from webhook.fleet.activity import PoolActivity, ProviderActivity, logged_failure, machine_fields
from webhook.fleet.fleet import Fleet
from webhook.fleet.provider_calls import ProviderCalls
from webhook.fleet.provider_loop import ProviderLoop
from webhook.fleet.providers import Provider
from webhook.ledger.machines import Machine, MachineState, PoolReport
from webhook.loops import STALLED_SECONDS, LoopHealth
from webhook.pool_settings import Pool

log = structlog.get_logger()

STOP_SECONDS = 5.0
"""What is under way may take so long to end when the autoscaler stops. A crash would do no harm either."""


class Autoscaler:
    """Keeps every pool at what its settings want. Runs on one replica; a second one could not exceed a limit.

    Args:
        fleet: The ledger's side.
        pools: Settings by name. Machines of pools that are not among them are drained and slain.
        providers: By the names that pools give them.
        url: Where machines find the control plane.
        tick_seconds: Between the turns of one provider.
        call_seconds: A call to ledger or provider is given up after so long; to mint, see the pool.
        manual: Provider of machines that people start and end: left alone.
        health: Notes a turn that does not end.
        clock: Seconds that only grow.

    Raises:
        ValueError: a pool names a provider that is not there.

    """

    def __init__(
        self,
        fleet: Fleet,
        pools: Mapping[str, Pool],
        providers: Mapping[str, Provider],
        *,
        url: str,
        tick_seconds: float = 2.0,
        call_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        manual: str = "",
        health: LoopHealth | None = None,
    ) -> None:
        if unknown := sorted({name for pool in pools.values() for name in pool.provider_names} - set(providers)):
            raise ValueError(f"pools name providers that are not configured: {', '.join(unknown)}")
        self._fleet = fleet
        self._health = health or LoopHealth()
        self._tick_seconds = tick_seconds
        self._call_seconds = call_seconds
        self._abandoned: set[int] = set()
        self._manual = manual
        self.pools = {name: PoolActivity() for name in pools}
        """By name. A pool that is no longer configured is added when a machine of it is met."""
        self.providers = {name: ProviderActivity() for name in providers}
        """By name."""
        self._reporter = _Reporter(fleet, self.pools, self.providers, call_seconds)
        self._loops = [
            ProviderLoop(
                ProviderCalls(name, provider, fleet, url=url, call_seconds=call_seconds, clock=clock),
                self.providers[name],
                pools,
                self.pools,
            )
            for name, provider in providers.items()
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until ``stop`` is set. Errors of ledger and providers are logged and do not end it."""
        loops = [asyncio.create_task(self._loop(turn, stop)) for turn in self._turns()]
        try:
            await stop.wait()
            await asyncio.wait(loops, timeout=STOP_SECONDS)
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    async def tick(self) -> None:
        """One turn of every provider, and then one of the report."""
        # The report last, so that it shows what this tick did.
        *turns, report = self._turns()
        await asyncio.gather(*(turn() for turn in turns))
        await report()

    def _turns(self) -> list[Callable[[], Awaitable[None]]]:
        return [*(loop.turn for loop in self._loops), self._abandon, self._reporter.turn]

    async def _loop(self, turn: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            with self._health.turn("autoscaler", 2 * STALLED_SECONDS):
                await turn()
            try:
                await asyncio.wait_for(stop.wait(), self._tick_seconds)
            except TimeoutError:
                continue

    async def _abandon(self) -> None:
        """Drain machines of a provider that is no longer configured: nothing here can slay them."""
        with logged_failure("looking for abandoned machines failed"):
            for machine in await asyncio.wait_for(self._fleet.machines(), self._call_seconds):
                if machine.provider not in self.providers and machine.provider != self._manual:
                    await self._abandon_one(machine)

    async def _abandon_one(self, machine: Machine) -> None:
        if machine.state is MachineState.READY:
            await asyncio.wait_for(self._fleet.drain(machine.id, "abandoned"), self._call_seconds)
        if machine.id not in self._abandoned:
            self._abandoned.add(machine.id)
            hint = "configure the provider again until its machines are gone, or destroy them by hand"
            log.error("abandoned", **machine_fields(machine), provider=machine.provider, ref=machine.ref, hint=hint)


class _Reporter:
    """Writes what pools and providers did to the ledger, whenever it has changed."""

    def __init__(
        self,
        fleet: Fleet,
        pools: Mapping[str, PoolActivity],
        providers: Mapping[str, ProviderActivity],
        call_seconds: float,
    ) -> None:
        self._fleet = fleet
        self._pools = pools
        self._providers = providers
        self._call_seconds = call_seconds
        self._reported: tuple[dict[str, PoolReport], dict[str, ProviderActivity]] | None = None
        """What the ledger was told last, with this process's counts. None: nothing yet."""

    async def turn(self) -> None:
        """Report once, if anything has changed.

        A report whose answer was lost may be counted twice: its numbers are for people, nothing is decided by them.
        """
        now = (
            {name: activity.report_since(0) for name, activity in self._pools.items()},
            {name: ProviderActivity(**asdict(activity)) for name, activity in self._providers.items()},
        )
        if now == self._reported:
            return
        # The ledger adds up counts, so only what is new since the last report is sent.
        earlier_pools, earlier_providers = self._reported or ({}, {})
        pools = {
            name: activity.report_since(earlier_pools[name].failed_starts if name in earlier_pools else 0)
            for name, activity in self._pools.items()
        }
        providers = {
            name: activity.report_since(earlier_providers.get(name, ProviderActivity()))
            for name, activity in self._providers.items()
        }
        with logged_failure("reporting failed"):
            await asyncio.wait_for(self._fleet.report(pools, providers), self._call_seconds)
            self._reported = now
