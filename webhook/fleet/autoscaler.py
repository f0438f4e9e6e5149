"""Autoscaler: mints machines where work waits, drains and slays them where it does not, and loses none of them.

Each provider has a loop of its own, so that one that hangs holds up no other. A turn of it asks the provider for its
list, then the ledger for its rows, in this order: whatever the list shows was intended before, so a label without a row
is an unknown machine. Then `decide` turns what is known of each pool into actions, which are carried out all at once,
each with a deadline.

Nothing remembered here matters after a crash: rows and labels are the memory. Only the breakers start closed. How
minting goes is written to the ledger (`Fleet.report`), so that every replica can show it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import structlog

from webhook.config import Pool
from webhook.fleet.breaker import Breaker, BreakerState
from webhook.fleet.fleet import Fleet
from webhook.fleet.providers import Instance, MintOrder, Provider, ProviderBusy, ProviderError
from webhook.fleet.scaling import (
    STARTING,
    Action,
    Adopt,
    Drain,
    Listing,
    MarkGone,
    Mint,
    Slay,
    credible_listing,
    decide,
    with_silence_heard,
)
from webhook.ledger.machines import Demand, Intent, Machine, MachineState, PoolReport, ProviderReport

log = structlog.get_logger()

STOP_SECONDS = 5.0
"""What is under way may take so long to end when the autoscaler stops. A crash would do no harm either."""
ASK_AGAIN_SECONDS = 10.0
"""A provider that agreed to destroy a machine and still lists it is asked again after so long."""

_REASON_CHARACTERS = 500
"""Of an error that are logged and reported."""

T = TypeVar("T")


@dataclass(slots=True)
class PoolActivity:
    """What has become of one pool's machines since the autoscaler started."""

    minted: int = 0
    """Orders that a provider accepted."""
    ready: int = 0
    """Machines that called home."""
    failed: int = 0
    """Starts that failed: not accepted, or not called home in time."""
    last_failure: str = ""
    """Why the last start failed."""
    slain: Counter[str] = field(default_factory=Counter)
    """Machines that the provider no longer lists, by the reason they were slain for."""
    breaker: BreakerState = "closed"
    frozen: bool = False
    """The provider's list fails or cannot be true: nothing is minted, nothing taken for gone."""

    def report_since(self, failed: int) -> PoolReport:
        """What to report, where ``failed`` failures were reported before."""
        return PoolReport(self.breaker, self.frozen, self.failed - failed, self.last_failure)


@dataclass(slots=True)
class ProviderActivity:
    """What one provider did since the autoscaler started."""

    list_failures: int = 0
    unknown_slain: int = 0
    """Machines slain that the ledger did not know; counted each time that one was asked for."""
    last_error: str = ""
    """Why the last list failed."""

    def report_since(self, earlier: ProviderActivity) -> ProviderReport:
        """What to report, where ``earlier`` was reported before."""
        failures, slain = self.list_failures - earlier.list_failures, self.unknown_slain - earlier.unknown_slain
        return ProviderReport(failures, slain, self.last_error)


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
    ) -> None:
        if unknown := sorted({pool.provider for pool in pools.values()} - set(providers)):
            raise ValueError(f"pools name providers that are not configured: {', '.join(unknown)}")
        self._fleet = fleet
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
            _ProviderLoop(
                name=name,
                provider=provider,
                activity=self.providers[name],
                fleet=fleet,
                pools=pools,
                activities=self.pools,
                url=url,
                call_seconds=call_seconds,
                clock=clock,
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
        *turns, report = self._turns()
        await asyncio.gather(*(turn() for turn in turns))
        await report()

    def _turns(self) -> list[Callable[[], Awaitable[None]]]:
        return [*(loop.turn for loop in self._loops), self._abandon, self._reporter.turn]

    async def _loop(self, turn: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            await turn()
            try:
                await asyncio.wait_for(stop.wait(), self._tick_seconds)
            except TimeoutError:
                continue

    async def _abandon(self) -> None:
        """Drain machines of a provider that is no longer configured: nothing here can slay them."""
        with _logged_failure("looking for abandoned machines failed"):
            for machine in await asyncio.wait_for(self._fleet.machines(), self._call_seconds):
                if machine.provider not in self.providers and machine.provider != self._manual:
                    await self._abandon_one(machine)

    async def _abandon_one(self, machine: Machine) -> None:
        if machine.state is MachineState.READY:
            await asyncio.wait_for(self._fleet.drain(machine.id), self._call_seconds)
        if machine.id not in self._abandoned:
            self._abandoned.add(machine.id)
            hint = "configure the provider again until its machines are gone, or destroy them by hand"
            log.error("abandoned", **_about(machine), provider=machine.provider, ref=machine.ref, hint=hint)


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
        earlier_pools, earlier_providers = self._reported or ({}, {})
        pools = {
            name: activity.report_since(earlier_pools[name].failed_starts if name in earlier_pools else 0)
            for name, activity in self._pools.items()
        }
        providers = {
            name: activity.report_since(earlier_providers.get(name, ProviderActivity()))
            for name, activity in self._providers.items()
        }
        with _logged_failure("reporting failed"):
            await asyncio.wait_for(self._fleet.report(pools, providers), self._call_seconds)
            self._reported = now


class _ProviderLoop:
    """One provider: its list, and the pools that have machines there."""

    def __init__(
        self,
        *,
        name: str,
        provider: Provider,
        activity: ProviderActivity,
        fleet: Fleet,
        pools: Mapping[str, Pool],
        activities: dict[str, PoolActivity],
        url: str,
        call_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.clock = clock
        self.name = name
        self.provider = provider
        self.fleet = fleet
        self.url = url
        self._activity = activity
        self._activities = activities
        self._call_seconds = call_seconds
        self._pools = {
            pool_name: _PoolLoop(pool_name, pool, self, activities[pool_name])
            for pool_name, pool in pools.items()
            if pool.provider == name
        }
        self._asked_at: dict[str, float] = {}
        """When the provider was last asked to destroy a machine, by label."""
        self._listening_since: float | None = None

    async def within(self, call: Awaitable[T]) -> T:
        """Give up a call to ledger or provider after a while. Raises `TimeoutError`."""
        return await asyncio.wait_for(call, self._call_seconds)

    async def turn(self) -> None:
        """Look at everything once, and do what is to be done."""
        with _logged_failure("turn failed", provider=self.name):
            asked = self.clock()
            instances = await self._list()
            machines = await self._machines()
            listing = self._listing(instances, self.clock() - asked)
            mine: dict[str, list[Machine]] = {name: [] for name in self._pools}
            for machine in machines:
                if machine.provider == self.name:
                    mine.setdefault(machine.pool, []).append(machine)
            await asyncio.gather(
                self._slay_unknown(instances or (), {machine.label for machine in machines}),
                *(self._pool(name).turn(rows, listing) for name, rows in mine.items()),
            )

    async def _machines(self) -> list[Machine]:
        """The rows, with no more silence than this autoscaler has been there to hear."""
        try:
            machines = await self.within(self.fleet.machines())
        except Exception:
            self._listening_since = None
            raise
        if self._listening_since is None:
            self._listening_since = self.clock()
        listening_seconds = self.clock() - self._listening_since
        return [with_silence_heard(machine, listening_seconds) for machine in machines]

    async def _list(self) -> Sequence[Instance] | None:
        try:
            instances = await self.within(self.provider.list())
        except Exception as error:
            self._activity.list_failures += 1
            self._activity.last_error = _reason(error)
            log.warning("list failed", provider=self.name, **_problem(error))
            return None
        listed = {instance.label for instance in instances}
        self._asked_at = {label: at for label, at in self._asked_at.items() if label in listed}
        return instances

    def _listing(self, instances: Sequence[Instance] | None, age_seconds: float) -> Listing | None:
        if instances is None:
            return None
        return Listing({i.label: i for i in instances}, age_seconds, self.provider.lag_seconds)

    def _pool(self, name: str) -> _PoolLoop:
        """The pool, or for one that is not configured here any more one that only empties."""
        if name not in self._pools:
            activity = self._activities.setdefault(name, PoolActivity())
            self._pools[name] = _PoolLoop(name, Pool(provider=self.name, limit=0), self, activity)
        return self._pools[name]

    async def _slay_unknown(self, instances: Iterable[Instance], known: set[str]) -> None:
        unknown = [instance for instance in instances if instance.label not in known]
        await asyncio.gather(*(self._slay_one_unknown(instance) for instance in unknown))

    async def _slay_one_unknown(self, instance: Instance) -> None:
        with _logged_failure("slaying an unknown machine failed", label=instance.label, ref=instance.ref):
            if await self.slay(instance):
                self._activity.unknown_slain += 1
                log.warning("unknown machine slain", label=instance.label, ref=instance.ref, provider=self.name)

    async def slay(self, instance: Instance) -> bool:
        """Ask the provider to destroy it, but not again and again. Returns whether it was asked."""
        asked = self._asked_at.get(instance.label)
        if asked is not None and self.clock() - asked < ASK_AGAIN_SECONDS:
            return False
        await self.within(self.provider.slay(instance))
        self._asked_at[instance.label] = self.clock()
        return True


class _PoolLoop:
    """One pool at one provider."""

    def __init__(self, name: str, settings: Pool, at: _ProviderLoop, activity: PoolActivity) -> None:
        self._name = name
        self._settings = settings
        self._at = at
        self._fleet = at.fleet
        self._activity = activity
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_seconds, at.clock)
        self._starting: set[int] = set()

    async def turn(self, machines: Sequence[Machine], listing: Listing | None) -> None:
        """Decide, and do it."""
        with _logged_failure("turn failed", pool=self._name):
            self._note_ready(machines)
            self._freeze(credible_listing(self._settings, machines, listing) is None, len(machines))
            demand = await self._demand()
            allowance = self._breaker.allowance(len(self._starting))
            actions = decide(self._settings, demand, machines, listing, allowance)
            await asyncio.gather(*(self._do(action, demand) for action in actions))
        self._activity.breaker = self._breaker.state

    def _note_ready(self, machines: Iterable[Machine]) -> None:
        """Notice which machines have called home since the last turn."""
        called = [
            m for m in machines if m.id in self._starting and m.state in (MachineState.READY, MachineState.DRAINING)
        ]
        for machine in called:
            self._activity.ready += 1
            self._breaker.succeeded()
            log.info("ready", **_about(machine), seconds=round(machine.age_seconds, 3))
        self._starting = {machine.id for machine in machines if machine.state in STARTING}

    def _freeze(self, frozen: bool, machines: int) -> None:
        if frozen != self._activity.frozen:
            reason = "the provider's list fails or cannot be true" if frozen else "the provider's list is back"
            log.warning("frozen" if frozen else "thawed", pool=self._name, machines=machines, reason=reason)
        self._activity.frozen = frozen

    async def _demand(self) -> Demand:
        objects = self._settings.limit * self._settings.slots
        if objects == 0:
            return Demand(0, 0)
        return await self._at.within(self._fleet.demand(self._name, objects))

    async def _do(self, action: Action, demand: Demand) -> None:
        with _logged_failure("action failed", pool=self._name, action=type(action).__name__.lower()):
            match action:
                case Mint(count, wanted):
                    await asyncio.gather(*(self._mint(demand, wanted) for _ in range(count)))
                case Adopt(machine, instance):
                    await self._adopt(machine, instance)
                case Drain(machine, reason):
                    await self._drain(machine, reason)
                case Slay(machine, reason, instance):
                    await self._slay(machine, reason, instance)
                case MarkGone(machine):
                    await self._mark_gone(machine)

    async def _mint(self, demand: Demand, wanted: int) -> None:
        settings = self._settings
        with _logged_failure("minting failed", pool=self._name):
            intent = await self._at.within(self._fleet.intend(self._name, settings.provider, settings.limit))
            if intent is None:
                log.info("not minted", pool=self._name, reason="limit", limit=settings.limit)
                return
            self._starting.add(intent.id)
            if ref := await self._order(intent):
                about = {"label": intent.label, "pool": self._name, "ref": ref}
                log.info("minted", **about, reason="demand", wanted=wanted, **asdict(demand))
                await self._at.within(self._fleet.minted(intent.id, ref))

    async def _order(self, intent: Intent) -> str | None:
        order = MintOrder(intent.label, self._name, self._at.url, intent.token)
        try:
            ref = await asyncio.wait_for(self._at.provider.mint(order), self._settings.mint_seconds)
        except Exception as error:
            await self._mint_failed(intent, error)
            return None
        self._activity.minted += 1
        return ref

    async def _mint_failed(self, intent: Intent, error: Exception) -> None:
        busy = isinstance(error, ProviderBusy)
        reason = "provider-busy" if busy else "mint-failed"
        if isinstance(error, ProviderBusy):
            self._breaker.pause(error.retry_seconds)
        else:
            final = isinstance(error, ProviderError) and not error.retry
            self._count_failure(intent.label, reason, _reason(error), final=final)
        log.warning("not minted", label=intent.label, pool=self._name, reason=reason, **_problem(error))
        # Something may exist nevertheless: the row stays until the provider's list shows that nothing does.
        await self._at.within(self._fleet.slaying(intent.id, reason, MachineState.INTENDED))

    def _count_failure(self, label: str, reason: str, error: str = "", *, final: bool = False) -> None:
        self._activity.failed += 1
        self._activity.last_failure = f"{reason}: {error}" if error else reason
        log.warning("start failed", label=label, pool=self._name, reason=reason)
        if self._breaker.failed(final=final):
            log.error(
                "breaker open",
                pool=self._name,
                failures=self._breaker.failures,
                seconds=self._settings.breaker_seconds,
                reason=reason,
                hint="see the provider's answers and the workers' own logs; then one is tried again",
            )

    async def _adopt(self, machine: Machine, instance: Instance) -> None:
        if await self._at.within(self._fleet.minted(machine.id, instance.ref)):
            log.warning("adopted", **_about(machine), ref=instance.ref, reason="its ref was never written down")

    async def _drain(self, machine: Machine, reason: str) -> None:
        if await self._at.within(self._fleet.drain(machine.id)):
            log.info("draining", **_about(machine), reason=reason, idle_seconds=round(machine.idle_seconds, 3))

    async def _slay(self, machine: Machine, reason: str, instance: Instance | None) -> None:
        if machine.state is not MachineState.SLAYING and not await self._begin_slaying(machine, reason):
            return  # it called home in this very moment, or another replica was first
        if instance is not None:
            await self._at.slay(instance)

    async def _begin_slaying(self, machine: Machine, reason: str) -> bool:
        if not await self._at.within(self._fleet.slaying(machine.id, reason, machine.state)):
            return False
        log.info("slaying", **_about(machine), reason=reason, leased=machine.leased)
        if machine.state in STARTING:
            self._starting.discard(machine.id)
            self._count_failure(machine.label, reason)
        return True

    async def _mark_gone(self, machine: Machine) -> None:
        if not await self._at.within(self._fleet.gone(machine.id)):
            return
        reason = machine.reason or "unknown"
        if machine.ref is None:  # no machine is known to have existed
            log.info("withdrawn", **_about(machine), reason=reason)
            return
        self._activity.slain[reason] += 1
        log.info("slain", **_about(machine), reason=reason, seconds=round(machine.age_seconds, 3))


@contextmanager
def _logged_failure(event: str, **about: str | None) -> Iterator[None]:
    """Log a failure instead of raising it: the rest of the turn goes on, and the next turn tries again."""
    try:
        yield
    except Exception as error:
        log.warning(event, **about, **_problem(error))


def _problem(error: Exception) -> dict[str, Any]:
    expected = isinstance(error, ProviderError | TimeoutError | OSError)
    return {"error": _reason(error), "exc_info": None if expected else error}


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:_REASON_CHARACTERS]


def _about(machine: Machine) -> dict[str, str]:
    return {"label": machine.label, "pool": machine.pool}
