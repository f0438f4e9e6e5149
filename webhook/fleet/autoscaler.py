"""Autoscaler: mints machines where work waits, drains and slays them where it does not, and loses none of them.

Each provider has a loop of its own (`webhook.fleet.provider_loop`), so that one that hangs holds up no other. A turn of
it asks the provider for its list, then the ledger for its rows, in this order: all that the list shows was intended
before, so a label without a row is an unknown machine. Then it looks after each machine there
(`webhook.fleet.pool_at_provider`). Each pool has a loop too (`webhook.fleet.pool_loop`): it compares the work with the
machines at all providers, takes offers (`webhook.fleet.market`) and lets surplus machines go. All calls have deadlines.

Nothing remembered here matters after a crash: rows and labels are the memory. Only the breakers start closed. How
minting goes is written to the ledger (`Fleet.report`), so that every replica can show it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial

import structlog

from webhook.fleet.activity import PoolActivity, ProviderActivity, logged_failure, machine_fields
from webhook.fleet.fleet import Fleet
from webhook.fleet.pool_loop import PoolLoop, ProviderOfPool
from webhook.fleet.provider_calls import ProviderCalls, within
from webhook.fleet.provider_loop import ProviderLoop
from webhook.fleet.providers import Provider
from webhook.ledger.machines import Machine, MachineState, PoolReport
from webhook.loops import STALLED_SECONDS, LoopHealth
from webhook.pool_settings import Pool

log = structlog.get_logger()

_ACCRUE_SECONDS = 10.0
"""Between two additions of what machines cost."""
STOP_SECONDS = 5.0
"""What is under way may take so long to end when the autoscaler stops. A crash would do no harm either."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one loop does again and again."""

    take: Callable[[], Awaitable[None]]
    within_seconds: float = 2 * STALLED_SECONDS
    """How long it may take, before it counts as stalled."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to have the next one at once."""


class Autoscaler:
    """Keeps every pool at what its settings want. Runs on one replica; a second one could not exceed a limit.

    Args:
        fleet: The ledger's side.
        pools: Settings by name. Machines of pools that are not among them are drained and slain.
        providers: By the names that pools give them.
        url: Where machines find the control plane.
        tick_seconds: Between the turns of one provider.
        call_seconds: A call to ledger or provider is given up after so long; to mint, see the pool, and to list, see
            ``ListsSlowly``.
        manual: Provider of machines that people start and end: left alone.
        weights_bytes: How much a machine of a pool downloads before it works, its models.
        budget_usd_per_day: What all pools together may spend in one day (UTC), in US dollars; None: no limit.
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
        weights_bytes: Callable[[str], int] = lambda _pool: 0,
        budget_usd_per_day: Decimal | None = None,
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
        self._clock = clock
        self._accrue_at = clock()
        self.pools = {name: PoolActivity() for name in pools}
        """By name. A pool that is no longer configured is added when a machine of it is met."""
        self.providers = {name: ProviderActivity() for name in providers}
        """By name."""
        self._reporter = _Reporter(fleet, self.pools, self.providers, call_seconds)
        self._calls = {
            name: ProviderCalls(name, provider, fleet, url=url, call_seconds=call_seconds, clock=clock)
            for name, provider in providers.items()
        }
        self._provider_loops = {
            name: ProviderLoop(calls, self.providers[name], pools, self.pools) for name, calls in self._calls.items()
        }
        self._pool_loops = {
            name: PoolLoop(
                name,
                pool,
                fleet,
                [self._of(provider, name) for provider in pool.provider_names],
                self.pools[name],
                call_seconds=call_seconds,
                all_usd_per_day=budget_usd_per_day,
                weights_bytes=partial(weights_bytes, name),
            )
            for name, pool in pools.items()
        }

        self._scaling = {name: _Turn(partial(self._scale, name)) for name in self._pool_loops}
        self._turns = [
            [*(self._provider_turn(name) for name in self._provider_loops), _Turn(self._look_for_strays)],
            [*self._scaling.values(), _Turn(self._accrue)],
            [_Turn(self._reporter.turn)],
        ]
        """What is done again and again, in the order in which one depends on the other."""

    def _of(self, provider: str, pool: str) -> ProviderOfPool:
        return ProviderOfPool(self._calls[provider], self._provider_loops[provider].machines_of(pool))

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until ``stop`` is set. Errors of ledger and providers are logged and do not end it."""
        loops = [asyncio.create_task(self._loop(turn, stop)) for turns in self._turns for turn in turns]
        try:
            await stop.wait()
            for turns in self._turns:
                for turn in turns:
                    turn.woken.set()
            await asyncio.wait(loops, timeout=STOP_SECONDS)
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            self.close()

    def wake(self) -> None:
        """Look for work now in pools that have no machine: the first one is minted without waiting for a turn."""
        for name, turn in self._scaling.items():
            if self._pool_loops[name].is_empty:
                turn.woken.set()

    def close(self) -> None:
        """Give up what providers were asked for and have not answered."""
        for pool in self._pool_loops.values():
            pool.close()
        for calls in self._calls.values():
            calls.close()

    async def tick(self, *, orders: bool = True) -> None:
        """Take one turn of every provider, of every pool and of the report; ``orders``: wait for what was ordered."""
        # The report last, so that it shows what this tick did.
        *turns, report = self._turns
        for turn in turns:
            await asyncio.gather(*(each.take() for each in turn))
        if orders:
            await asyncio.gather(*(loop.ordered() for loop in self._pool_loops.values()))
        await asyncio.gather(*(each.take() for each in report))

    def _provider_turn(self, name: str) -> _Turn:
        return _Turn(self._provider_loops[name].turn, 2 * STALLED_SECONDS + self._calls[name].list_seconds)

    async def _scale(self, name: str) -> None:
        with logged_failure("turn failed", pool=name):
            machines = await within(self._fleet.machines(), self._call_seconds)
            await self._pool_loops[name].turn(
                [machine for machine in machines if machine.pool == name and machine.provider != self._manual]
            )

    async def _accrue(self) -> None:
        if self._clock() < self._accrue_at:
            return
        with logged_failure("costs not counted"):
            # What a list lacks has ended perhaps: that is counted once it is gone.
            listed = (loop.listed() for loop in self._provider_loops.values())
            await within(self._fleet.accrue(self._abandoned.union(*listed)), self._call_seconds)
            self._accrue_at = self._clock() + _ACCRUE_SECONDS

    async def _loop(self, turn: _Turn, stop: asyncio.Event) -> None:
        while not stop.is_set():
            turn.woken.clear()  # before it: what comes meanwhile is looked at after it
            with self._health.turn("autoscaler", turn.within_seconds):
                await turn.take()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._tick_seconds):
                    await turn.woken.wait()

    async def _look_for_strays(self) -> None:
        """Drain machines whose provider or pool is no longer configured."""
        with logged_failure("looking for stray machines failed"):
            for machine in await within(self._fleet.machines(), self._call_seconds):
                if machine.provider == self._manual:
                    continue
                if machine.provider not in self.providers:  # nothing here can slay it
                    await self._abandon_one(machine)
                elif machine.pool not in self._pool_loops and machine.state is MachineState.READY:
                    await within(self._fleet.drain(machine.id, "limit"), self._call_seconds)

    async def _abandon_one(self, machine: Machine) -> None:
        if machine.state is MachineState.READY:
            await within(self._fleet.drain(machine.id, "abandoned"), self._call_seconds)
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
            {name: replace(activity) for name, activity in self._providers.items()},
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
            await within(self._fleet.report(pools, providers), self._call_seconds)
            self._reported = now
