"""How many machines: mints where work waits, drains and slays where it does not, and loses none of them.

Each provider has a loop of its own, so that one that hangs holds up no other. A turn of it asks the provider
for its list, then the ledger for its rows, in this order: whatever the list shows was intended before, so a
label without a row is a stray. Then `decide` turns what is known of each pool into actions, which are carried
out all at once, each with a deadline.

Nothing remembered here matters after a crash: rows and labels are the memory. Only the breakers start closed.
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

from webhook.fleet.breaker import Breaker, BreakerState
from webhook.fleet.fleet import Fleet, PoolPolicy
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
    as_heard,
    believe,
    decide,
)
from webhook.ledger.machines import Demand, Intent, Machine, MachineState

log = structlog.get_logger()

STOP_SECONDS = 5.0
"""What is under way may take so long to end when the autoscaler stops. A crash would do no harm either."""
ASK_AGAIN_SECONDS = 10.0
"""A provider that agreed to destroy a machine and still lists it is asked again after so long."""

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
    slain: Counter[str] = field(default_factory=Counter)
    """Machines that the provider no longer lists, by the reason they were slain for."""
    breaker: BreakerState = "closed"
    frozen: bool = False
    """The provider's list fails or cannot be true: nothing is minted, nothing believed gone."""


@dataclass(slots=True)
class ProviderActivity:
    """What one provider did since the autoscaler started."""

    list_failures: int = 0
    strays: int = 0
    """Machines slain that nobody knew; each time that one was asked for."""


class Autoscaler:
    """Keeps every pool at what its policy wants. Runs on one replica; a second one could not exceed a limit.

    Args:
        fleet: The ledger's side.
        policies: One for each pool. Machines of pools that are not among them are drained and slain.
        providers: By the names that policies give them.
        tick_seconds: Between the turns of one provider.
        call_seconds: A call to ledger or provider is given up after so long; to mint, see the policy.
        by_hand: Provider of machines that people start and end: left alone.
        clock: Seconds that only grow.

    Raises:
        ValueError: a policy names a provider that is not there.

    """

    def __init__(
        self,
        fleet: Fleet,
        policies: Sequence[PoolPolicy],
        providers: Mapping[str, Provider],
        *,
        tick_seconds: float = 2.0,
        call_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        by_hand: str = "",
    ) -> None:
        if unknown := sorted({policy.provider for policy in policies} - set(providers)):
            raise ValueError(f"pools name providers that are not configured: {', '.join(unknown)}")
        self._fleet = fleet
        self._tick_seconds = tick_seconds
        self._call_seconds = call_seconds
        self._abandoned: set[int] = set()
        self._by_hand = by_hand
        self.pools = {policy.name: PoolActivity() for policy in policies}
        """By name, for metrics. A pool that is no longer configured is added when a machine of it is met."""
        self.providers = {name: ProviderActivity() for name in providers}
        """By name, for metrics."""
        self._sites = [
            _Site(
                name=name,
                provider=provider,
                status=self.providers[name],
                fleet=fleet,
                policies=policies,
                statuses=self.pools,
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
        """One turn of every provider."""
        await asyncio.gather(*(turn() for turn in self._turns()))

    def _turns(self) -> list[Callable[[], Awaitable[None]]]:
        return [*(site.turn for site in self._sites), self._abandon]

    async def _loop(self, turn: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            await turn()
            try:
                await asyncio.wait_for(stop.wait(), self._tick_seconds)
            except TimeoutError:
                continue

    async def _abandon(self) -> None:
        """Drain what nobody can slay: machines of a provider that is no longer configured."""
        with _guard("looking for abandoned machines failed"):
            for machine in await asyncio.wait_for(self._fleet.machines(), self._call_seconds):
                if machine.provider not in self.providers and machine.provider != self._by_hand:
                    await self._abandon_one(machine)

    async def _abandon_one(self, machine: Machine) -> None:
        if machine.state is MachineState.READY:
            await asyncio.wait_for(self._fleet.drain(machine.id), self._call_seconds)
        if machine.id not in self._abandoned:
            self._abandoned.add(machine.id)
            hint = "configure the provider again until its machines are gone, or destroy them by hand"
            log.error("abandoned", **_about(machine), provider=machine.provider, ref=machine.ref, hint=hint)


class _Site:
    """One provider: its list, and the pools that have machines there."""

    def __init__(
        self,
        *,
        name: str,
        provider: Provider,
        status: ProviderActivity,
        fleet: Fleet,
        policies: Sequence[PoolPolicy],
        statuses: dict[str, PoolActivity],
        call_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.clock = clock
        self.name = name
        self.provider = provider
        self.fleet = fleet
        self._status = status
        self._statuses = statuses
        self._call_seconds = call_seconds
        self._pools = {p.name: _Pool(p, self, statuses[p.name]) for p in policies if p.provider == name}
        self._asked: dict[str, float] = {}
        self._listening_since: float | None = None

    async def within(self, call: Awaitable[T]) -> T:
        """Give up a call to ledger or provider after a while. Raises `TimeoutError`."""
        return await asyncio.wait_for(call, self._call_seconds)

    async def turn(self) -> None:
        """Look at everything once, and do what is to be done."""
        with _guard("turn failed", provider=self.name):
            asked = self.clock()
            instances = await self._list()
            machines = await self._machines()
            listing = self._listing(instances, self.clock() - asked)
            mine: dict[str, list[Machine]] = {name: [] for name in self._pools}
            for machine in machines:
                if machine.provider == self.name:
                    mine.setdefault(machine.pool, []).append(machine)
            await asyncio.gather(
                self._slay_strays(instances or (), {machine.label for machine in machines}),
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
        return [as_heard(machine, listening_seconds) for machine in machines]

    async def _list(self) -> Sequence[Instance] | None:
        try:
            instances = await self.within(self.provider.list())
        except Exception as error:
            self._status.list_failures += 1
            log.warning("list failed", provider=self.name, **_problem(error))
            return None
        listed = {instance.label for instance in instances}
        self._asked = {label: at for label, at in self._asked.items() if label in listed}
        return instances

    def _listing(self, instances: Sequence[Instance] | None, age_seconds: float) -> Listing | None:
        if instances is None:
            return None
        return Listing({i.label: i for i in instances}, age_seconds, self.provider.lag_seconds)

    def _pool(self, name: str) -> _Pool:
        """The pool, or for one that is not configured here any more one that only empties."""
        if name not in self._pools:
            policy = PoolPolicy(name=name, provider=self.name, url="", limit=0)
            self._pools[name] = _Pool(policy, self, self._statuses.setdefault(name, PoolActivity()))
        return self._pools[name]

    async def _slay_strays(self, instances: Iterable[Instance], known: set[str]) -> None:
        strays = [instance for instance in instances if instance.label not in known]
        await asyncio.gather(*(self._slay_stray(instance) for instance in strays))

    async def _slay_stray(self, instance: Instance) -> None:
        with _guard("slaying a stray failed", label=instance.label, ref=instance.ref):
            if await self.slay(instance):
                self._status.strays += 1
                log.warning("stray slain", label=instance.label, ref=instance.ref, provider=self.name)

    async def slay(self, instance: Instance) -> bool:
        """Ask the provider to destroy it, but not again and again. Returns whether it was asked."""
        asked = self._asked.get(instance.label)
        if asked is not None and self.clock() - asked < ASK_AGAIN_SECONDS:
            return False
        await self.within(self.provider.slay(instance))
        self._asked[instance.label] = self.clock()
        return True


class _Pool:
    """One pool at one provider."""

    def __init__(self, policy: PoolPolicy, site: _Site, status: PoolActivity) -> None:
        self._policy = policy
        self._site = site
        self._fleet = site.fleet
        self._status = status
        self._breaker = Breaker(policy.breaker_failures, policy.breaker_seconds, site.clock)
        self._starting: set[int] = set()

    async def turn(self, machines: Sequence[Machine], listing: Listing | None) -> None:
        """Decide, and do it."""
        with _guard("turn failed", pool=self._policy.name):
            self._welcome(machines)
            self._freeze(believe(self._policy, machines, listing) is None, len(machines))
            demand = await self._demand()
            allowance = self._breaker.allowance(len(self._starting))
            actions = decide(self._policy, demand, machines, listing, allowance)
            await asyncio.gather(*(self._do(action, demand) for action in actions))
        self._status.breaker = self._breaker.state

    def _welcome(self, machines: Iterable[Machine]) -> None:
        """Notice which machines have called home since the last turn."""
        called = [
            m for m in machines if m.id in self._starting and m.state in (MachineState.READY, MachineState.DRAINING)
        ]
        for machine in called:
            self._status.ready += 1
            self._breaker.succeeded()
            log.info("ready", **_about(machine), seconds=round(machine.age_seconds, 3))
        self._starting = {machine.id for machine in machines if machine.state in STARTING}

    def _freeze(self, frozen: bool, machines: int) -> None:
        if frozen != self._status.frozen:
            reason = "the provider's list fails or cannot be true" if frozen else "the provider's list is back"
            log.warning("frozen" if frozen else "thawed", pool=self._policy.name, machines=machines, reason=reason)
        self._status.frozen = frozen

    async def _demand(self) -> Demand:
        objects = self._policy.limit * self._policy.slots
        if objects == 0:
            return Demand(0, 0)
        return await self._site.within(self._fleet.demand(self._policy.name, objects))

    async def _do(self, action: Action, demand: Demand) -> None:
        with _guard("action failed", pool=self._policy.name, action=type(action).__name__.lower()):
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
                    await self._bury(machine)

    async def _mint(self, demand: Demand, wanted: int) -> None:
        policy = self._policy
        with _guard("minting failed", pool=policy.name):
            intent = await self._site.within(self._fleet.intend(policy.name, policy.provider, policy.limit))
            if intent is None:
                log.info("not minted", pool=policy.name, reason="limit", limit=policy.limit)
                return
            self._starting.add(intent.id)
            if ref := await self._order(intent):
                about = {"label": intent.label, "pool": policy.name, "ref": ref}
                log.info("minted", **about, reason="demand", wanted=wanted, **asdict(demand))
                await self._site.within(self._fleet.minted(intent.id, ref))

    async def _order(self, intent: Intent) -> str | None:
        policy = self._policy
        order = MintOrder(intent.label, policy.name, policy.url, intent.token)
        try:
            ref = await asyncio.wait_for(self._site.provider.mint(order), policy.mint_seconds)
        except Exception as error:
            await self._mint_failed(intent, error)
            return None
        self._status.minted += 1
        return ref

    async def _mint_failed(self, intent: Intent, error: Exception) -> None:
        busy = isinstance(error, ProviderBusy)
        reason = "provider-busy" if busy else "mint-failed"
        if isinstance(error, ProviderBusy):
            self._breaker.pause(error.retry_seconds)
        else:
            self._count_failure(intent.label, reason, final=isinstance(error, ProviderError) and not error.retry)
        log.warning("not minted", label=intent.label, pool=self._policy.name, reason=reason, **_problem(error))
        # Something may exist nevertheless: the row stays until the provider's list shows that nothing does.
        await self._site.within(self._fleet.slaying(intent.id, reason, MachineState.INTENDED))

    def _count_failure(self, label: str, reason: str, *, final: bool = False) -> None:
        self._status.failed += 1
        log.warning("start failed", label=label, pool=self._policy.name, reason=reason)
        if self._breaker.failed(final=final):
            log.error(
                "breaker open",
                pool=self._policy.name,
                failures=self._breaker.failures,
                seconds=self._policy.breaker_seconds,
                reason=reason,
                hint="see the provider's answers and the workers' own logs; then one is tried again",
            )

    async def _adopt(self, machine: Machine, instance: Instance) -> None:
        if await self._site.within(self._fleet.minted(machine.id, instance.ref)):
            log.warning("adopted", **_about(machine), ref=instance.ref, reason="its ref was never written down")

    async def _drain(self, machine: Machine, reason: str) -> None:
        if await self._site.within(self._fleet.drain(machine.id)):
            log.info("draining", **_about(machine), reason=reason, idle_seconds=round(machine.idle_seconds, 3))

    async def _slay(self, machine: Machine, reason: str, instance: Instance | None) -> None:
        if machine.state is not MachineState.SLAYING and not await self._condemn(machine, reason):
            return  # it called home in this very moment, or another replica was first
        if instance is not None:
            await self._site.slay(instance)

    async def _condemn(self, machine: Machine, reason: str) -> bool:
        if not await self._site.within(self._fleet.slaying(machine.id, reason, machine.state)):
            return False
        log.info("slaying", **_about(machine), reason=reason, leased=machine.leased)
        if machine.state in STARTING:
            self._starting.discard(machine.id)
            self._count_failure(machine.label, reason)
        return True

    async def _bury(self, machine: Machine) -> None:
        if not await self._site.within(self._fleet.gone(machine.id)):
            return
        reason = machine.reason or "unknown"
        if machine.ref is None:  # nothing that anybody knows of ever existed
            log.info("withdrawn", **_about(machine), reason=reason)
            return
        self._status.slain[reason] += 1
        log.info("slain", **_about(machine), reason=reason, seconds=round(machine.age_seconds, 3))


@contextmanager
def _guard(event: str, **about: str | None) -> Iterator[None]:
    """One failure is logged and stalls nothing else."""
    try:
        yield
    except Exception as error:
        log.warning(event, **about, **_problem(error))


def _problem(error: Exception) -> dict[str, Any]:
    expected = isinstance(error, ProviderError | TimeoutError | OSError)
    return {"error": str(error) or type(error).__name__, "exc_info": None if expected else error}


def _about(machine: Machine) -> dict[str, str]:
    return {"label": machine.label, "pool": machine.pool}
