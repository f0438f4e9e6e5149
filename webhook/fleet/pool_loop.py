"""One pool's part of the autoscaler: decides what to do about its machines at one provider, and carries it out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import structlog

from webhook.fleet.activity import PoolActivity, error_fields, logged_failure, machine_fields, reason_of
from webhook.fleet.breaker import Breaker
from webhook.fleet.provider_calls import ProviderCalls
from webhook.fleet.providers import Instance, ProviderBusy, ProviderError
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
)
from webhook.ledger.machines import Demand, Intent, Machine, MachineState
from webhook.pool_settings import Pool

log = structlog.get_logger()


class PoolLoop:
    """One pool at one provider."""

    def __init__(self, name: str, settings: Pool, calls: ProviderCalls, activity: PoolActivity) -> None:
        self._name = name
        self._settings = settings
        self._calls = calls
        self._fleet = calls.fleet
        self._activity = activity
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_seconds, calls.clock)
        # Machines that were starting at the last turn: those that are ready at the next one have just called home.
        self._starting: set[int] = set()

    async def turn(self, machines: Sequence[Machine], listing: Listing | None) -> None:
        """Decide, and do it."""
        with logged_failure("turn failed", pool=self._name):
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
            log.info("ready", **machine_fields(machine), seconds=round(machine.age_seconds, 3))
        self._starting = {machine.id for machine in machines if machine.state in STARTING}

    def _freeze(self, frozen: bool, machines: int) -> None:
        if frozen != self._activity.frozen:
            reason = "the provider's list fails or cannot be true" if frozen else "the provider's list is back"
            log.warning("frozen" if frozen else "thawed", pool=self._name, machines=machines, reason=reason)
        self._activity.frozen = frozen

    async def _demand(self) -> Demand:
        # More objects than all machines can hold change nothing, so counting ends there.
        objects = self._settings.limit * self._settings.slots
        if objects == 0:
            return Demand(0, 0)
        return await self._calls.within(self._fleet.demand(self._name, objects))

    async def _do(self, action: Action, demand: Demand) -> None:
        with logged_failure("action failed", pool=self._name, action=type(action).__name__.lower()):
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
        with logged_failure("minting failed", pool=self._name):
            intent = await self._calls.within(self._fleet.intend(self._name, self._calls.name, settings.limit))
            if intent is None:
                log.info("not minted", pool=self._name, reason="limit", limit=settings.limit)
                return
            # Counted as starting before the provider answers, so that the breaker limits orders under way too.
            self._starting.add(intent.id)
            if ref := await self._order(intent):
                about = {"label": intent.label, "pool": self._name, "ref": ref}
                log.info("minted", **about, reason="demand", wanted=wanted, **asdict(demand))
                await self._calls.within(self._fleet.minted(intent.id, ref))

    async def _order(self, intent: Intent) -> str | None:
        try:
            [offer, *_] = await self._calls.offers()
            ref = await self._calls.mint(intent, self._name, offer, self._settings.mint_seconds)
        except Exception as error:
            await self._mint_failed(intent, error)
            return None
        self._activity.minted += 1
        return ref

    async def _mint_failed(self, intent: Intent, error: Exception) -> None:
        busy = isinstance(error, ProviderBusy)
        reason = "provider-busy" if busy else "mint-failed"
        # A provider without room is no fault of the machine: it pauses minting and does not open the breaker.
        if isinstance(error, ProviderBusy):
            self._breaker.pause(error.retry_seconds)
        else:
            final = isinstance(error, ProviderError) and not error.retry
            self._count_failure(intent.label, reason, reason_of(error), final=final)
        log.warning("not minted", label=intent.label, pool=self._name, reason=reason, **error_fields(error))
        # Something may exist nevertheless: the row stays until the provider's list shows that nothing does.
        await self._calls.within(self._fleet.slaying(intent.id, reason, MachineState.INTENDED))

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
        if await self._calls.within(self._fleet.minted(machine.id, instance.ref)):
            log.warning("adopted", **machine_fields(machine), ref=instance.ref, reason="its ref was never written down")

    async def _drain(self, machine: Machine, reason: str) -> None:
        if await self._calls.within(self._fleet.drain(machine.id, reason)):
            log.info("draining", **machine_fields(machine), reason=reason, idle_seconds=round(machine.idle_seconds, 3))

    async def _slay(self, machine: Machine, reason: str, instance: Instance | None) -> None:
        if machine.state is not MachineState.SLAYING and not await self._begin_slaying(machine, reason):
            return  # it called home in this very moment, or another replica was first
        if instance is not None:
            await self._calls.slay(instance)

    async def _begin_slaying(self, machine: Machine, reason: str) -> bool:
        # The row first: from this commit on the machine can do nothing, so destroying it interrupts no lease.
        if not await self._calls.within(self._fleet.slaying(machine.id, reason, machine.state)):
            return False
        log.info("slaying", **machine_fields(machine), reason=reason, leased=machine.leased)
        if machine.state in STARTING:
            self._starting.discard(machine.id)
            self._count_failure(machine.label, reason)
            with logged_failure("no boot log", label=machine.label):
                self._activity.last_boot_log = await self._calls.boot_log(machine.label)
        return True

    async def _mark_gone(self, machine: Machine) -> None:
        if not await self._calls.within(self._fleet.gone(machine.id)):
            return
        reason = machine.reason or "unknown"
        if machine.ref is None:  # no machine is known to have existed
            log.info("withdrawn", **machine_fields(machine), reason=reason)
            return
        self._activity.slain[reason] += 1
        log.info("slain", **machine_fields(machine), reason=reason, seconds=round(machine.age_seconds, 3))
