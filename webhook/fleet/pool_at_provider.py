"""One pool's machines at one provider: orders them, slays those that have to go, and counts starts that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from webhook.fleet.activity import PoolActivity, error_fields, logged_failure, machine_fields, reason_of
from webhook.fleet.breaker import Breaker, BreakerState
from webhook.fleet.provider_calls import ProviderCalls
from webhook.fleet.providers import Instance, NotSent, Offer, OfferGone, ProviderBusy, ProviderError
from webhook.fleet.scaling import (
    STARTING,
    Action,
    Adopt,
    Listing,
    MarkGone,
    Reprice,
    Slay,
    credible_listing,
    look_after,
    must_have_ended,
)
from webhook.ledger.machines import Intent, LastSigns, Machine, MachineState
from webhook.pool_settings import Pool

log = structlog.get_logger()

AVOID_SECONDS = 24 * 3600.0
"""A machine that did not boot is not rented again for so long."""
UNSEEN_SECONDS = 60.0
"""Without a list for so long, a machine that must have ended itself is destroyed though none has shown it."""
_LONG_PAUSE_SECONDS = 600.0
"""A provider that is left alone for so long is shown with the time at which it is asked again."""
_LISTED_SECONDS = 60.0
"""A provider that has not listed its machines for so long gets no new ones: nobody knows what exists.

Where a list may take longer, twice as long as one may take.
"""


class PoolAtProvider:
    """The machines that a pool has at one provider."""

    def __init__(self, name: str, settings: Pool, calls: ProviderCalls, activity: PoolActivity) -> None:
        self.provider = calls.name
        self._name = name
        self._settings = settings
        self._calls = calls
        self._fleet = calls.fleet
        self._activity = activity
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_seconds, calls.clock)
        # Machines that were starting at the last turn: those that are ready at the next one have just called home.
        self._starting: set[int] = set()
        self._believed_at: float | None = None
        self.listed: frozenset[int] = frozenset()
        """Machines that the last list showed: these surely cost."""
        self._unlisted_at: dict[int, float] = {}
        """When the first list that lacked a machine was asked for, of those that the last one lacked."""
        self._began = calls.clock()
        self.frozen = False
        """The provider's list fails or cannot be true: nothing is minted, nothing taken for gone."""

    @property
    def breaker(self) -> BreakerState:
        """State of the breaker for machines that the pool starts there."""
        return self._breaker.state

    @property
    def why_paused(self) -> str:
        """Why nothing is minted there for a while, and when it is asked again. Empty: there is no pause."""
        return self._breaker.why_paused

    @property
    def contested(self) -> bool:
        """Whether another installation of the same name has machines there, so that nothing is minted."""
        return self._calls.contested

    def allowance(self) -> int:
        """How many machines may be ordered now."""
        # Without a list it is not known what exists, so nothing is minted.
        if (
            self.frozen
            or self.contested
            or self._believed_at is None
            or self._calls.clock() - self._believed_at > max(_LISTED_SECONDS, 2 * self._calls.list_seconds)
        ):
            return 0
        return self._breaker.allowance(len(self._starting))

    async def look_after(self, machines: Sequence[Machine], listing: Listing | None) -> None:
        """Do what has to be done about each machine. ``machines``: the pool's at this provider that are not gone."""
        with logged_failure("turn failed", pool=self._name, provider=self.provider):
            self._note_ready(machines)
            self._note_listed(machines, listing)
            self._freeze(credible_listing(self._settings, machines, listing) is None, len(machines))
            actions = look_after(self._settings, machines, listing)
            await asyncio.gather(*(self._do(action) for action in actions))

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

    def _note_listed(self, machines: Iterable[Machine], listing: Listing | None) -> None:
        """Notice which machines the list shows, and since when it lacks the others."""
        if listing is None:
            self.listed = frozenset()  # it may have ended meanwhile
            return
        asked_at = self._calls.clock() - listing.age_seconds
        self.listed = frozenset(machine.id for machine in machines if machine.label in listing.instances)
        lacked = {m.id: asked_at - self._idled_out_seconds(m) for m in machines if m.id not in self.listed}
        self._unlisted_at = {id: self._unlisted_at.get(id, at) for id, at in lacked.items()}

    def _idled_out_seconds(self, machine: Machine) -> float:
        """How long ago the worker of a machine has left, since it was idle: while the control plane was away, say."""
        return max(0.0, machine.idle_seconds - self._settings.worker_idle_seconds)

    def _freeze(self, frozen: bool, machines: int) -> None:
        if frozen != self.frozen:
            reason = "the provider's list fails or cannot be true" if frozen else "the provider's list is back"
            event = "frozen" if frozen else "thawed"
            log.warning(event, pool=self._name, provider=self.provider, machines=machines, reason=reason)
        self.frozen = frozen
        if not frozen:
            self._believed_at = self._calls.clock()

    async def _do(self, action: Action) -> None:
        with logged_failure("action failed", pool=self._name, action=type(action).__name__.lower()):
            match action:
                case Adopt(machine, instance):
                    await self._adopt(machine, instance)
                case Slay(machine, reason, instance):
                    await self._slay(machine, reason, instance)
                case MarkGone(machine):
                    await self._mark_gone(machine)
                case Reprice(machine, usd_per_hour):
                    if await self._calls.within(self._fleet.reprice(machine.id, usd_per_hour)):
                        prices = {"was": str(machine.usd_per_hour), "is": str(usd_per_hour)}
                        log.warning("price changed", **machine_fields(machine), **prices)

    # ── new machines ─────────────────────────────────────────────────────────────────────────────────────────────────

    def order(self, intent: Intent, offer: Offer) -> Coroutine[object, object, None]:
        """Order an intended machine. The order is counted before the coroutine is awaited. It raises nothing."""
        # The breaker limits orders under way too.
        self._starting.add(intent.id)
        # Taken now: no order beside this one is to ask for the same.
        put_back = self._calls.withdraw(offer) if offer.is_single else _nothing
        return self._order(intent, offer, put_back)

    async def _order(self, intent: Intent, offer: Offer, put_back: Callable[[], None]) -> None:
        with logged_failure("minting failed", pool=self._name, label=intent.label):
            try:
                ref = await self._calls.mint(intent, self._name, offer, self._settings.mint_seconds)
            except Exception as error:
                if isinstance(error, OfferGone):
                    self._calls.withdraw(offer)
                # Only what was never sent: after an answer, or without one, the machine may be rented nevertheless.
                if isinstance(error, NotSent):
                    put_back()
                await self._not_minted(intent, error)
                return
            self._activity.minted += 1
            log.info("minted", label=intent.label, pool=self._name, provider=self.provider, ref=ref)
            await self._calls.within(self._fleet.minted(intent.id, ref))

    def not_offered(self, error: Exception) -> None:
        """Count that the provider made no offer: one that refuses until a person does something is left alone."""
        if isinstance(error, ProviderBusy):
            self._pause(error)
        elif isinstance(error, ProviderError) and not error.retry:
            self._count_failure("", "no-offers", reason_of(error), final=True)

    def _pause(self, error: ProviderBusy) -> None:
        seconds = error.retry_seconds
        self._breaker.pause(seconds, f"{reason_of(error)}; asked again {_moment_after(seconds)}")

    async def _not_minted(self, intent: Intent, error: Exception) -> None:
        reason = self._count_refusal(intent.label, error)
        log.warning("not minted", label=intent.label, pool=self._name, reason=reason, **error_fields(error))
        # Something may exist nevertheless: the row stays until the provider's list shows that nothing does.
        await self._calls.within(self._fleet.slaying(intent.id, reason, MachineState.INTENDED))

    def _count_refusal(self, label: str, error: Exception) -> str:
        """Count an order that was not accepted; return the reason for which its machine is to be slain."""
        # A lost race or a provider without room is no fault of the machine, and does not open the breaker.
        if isinstance(error, OfferGone):
            return "offer-gone"
        if isinstance(error, ProviderBusy):
            self._pause(error)
            return "provider-busy"
        final = isinstance(error, ProviderError) and not error.retry
        self._count_failure(label, "mint-failed", reason_of(error), final=final)
        return "mint-failed"

    def _count_failure(self, label: str, reason: str, error: str = "", *, final: bool = False) -> None:
        self._activity.failed += 1
        self._activity.last_failure = f"{reason}: {error}" if error else reason
        log.warning("start failed", label=label, pool=self._name, reason=reason)
        if self._breaker.failed(final=final):
            log.error(
                "breaker open",
                pool=self._name,
                provider=self.provider,
                failures=self._breaker.failures,
                seconds=self._settings.breaker_seconds,
                reason=reason,
                hint="see the provider's answers and the workers' own logs; then one is tried again",
            )

    async def _adopt(self, machine: Machine, instance: Instance) -> None:
        if await self._calls.within(self._fleet.minted(machine.id, instance.ref)):
            log.warning("adopted", **machine_fields(machine), ref=instance.ref, reason="its ref was never written down")

    # ── machines that have to go ─────────────────────────────────────────────────────────────────────────────────────

    async def _slay(self, machine: Machine, reason: str, instance: Instance | None) -> None:
        if machine.state is not MachineState.SLAYING and not await self._begin_slaying(machine, reason):
            return  # it called home in this very moment, or another replica was first
        if instance is not None and not self._awaits_list(machine):
            await self._note_existence(machine, instance)
            await self._note_costs(machine)
            await self._calls.slay(instance)

    def _awaits_list(self, machine: Machine) -> bool:
        """Whether a list has to come before a machine is destroyed that must have ended itself.

        What the list shows has not, and has cost until now; once it is destroyed, that is never known.
        """
        if machine.id in self.listed or not must_have_ended(self._settings, machine):
            return False
        asked_since = self._began if self._believed_at is None else self._believed_at
        return self._calls.clock() - asked_since < UNSEEN_SECONDS

    async def _note_existence(self, machine: Machine, instance: Instance) -> None:
        """Note a machine whose order had no answer before it can be gone: it exists, so it costs."""
        if machine.ref is None:
            with logged_failure("not noted", label=machine.label):
                await self._adopt(machine, instance)

    async def _note_costs(self, machine: Machine) -> None:
        """Count what a machine has cost until now that must have ended itself, and has not: the list shows it.

        Before it is destroyed: once it is gone, it would be taken to have ended when it had to. One that no list has
        shown, since the list fails, is counted too: it may have cost so much.
        """
        if must_have_ended(self._settings, machine):
            with logged_failure("not noted", label=machine.label):
                await self._calls.within(self._fleet.accrue([machine.id]))

    async def _begin_slaying(self, machine: Machine, reason: str) -> bool:
        if machine.state in STARTING and machine.machine and self._is_to_blame(machine, reason):
            # First: a crash in between would forget it. One that calls home just now is avoided all the same.
            with logged_failure("not avoided", label=machine.label):
                await self._calls.within(self._fleet.avoid(machine, reason, AVOID_SECONDS))
        # The row first: from this commit on the machine can do nothing, so destroying it interrupts no lease.
        if not await self._calls.within(self._fleet.slaying(machine.id, reason, machine.state)):
            return False
        log.info("slaying", **machine_fields(machine), reason=reason, leased=machine.leased)
        if machine.state in STARTING:
            await self._start_failed(machine, reason)
        return True

    async def _start_failed(self, machine: Machine, reason: str) -> None:
        self._starting.discard(machine.id)
        self._count_failure(machine.label, reason)
        with logged_failure("no boot log", label=machine.label):
            self._activity.last_boot_log = await self._calls.boot_log(machine.label)

    def _is_to_blame(self, machine: Machine, reason: str) -> bool:
        """Whether a start failed by the machine, and not because this control plane was away meanwhile."""
        heard_seconds = self._calls.clock() - self._began
        if reason == "boot-deadline":  # it had all of its time to call home, and there was one to call
            return heard_seconds >= self._settings.boot_seconds
        if reason == "price":
            return True
        return reason == "exited" and machine.age_seconds < heard_seconds

    async def _mark_gone(self, machine: Machine) -> None:
        if not await self._calls.within(self._fleet.gone(machine.id, self._last_signs(machine))):
            return
        reason = machine.reason or "unknown"
        if machine.ref is None:  # no machine is known to have existed
            log.info("withdrawn", **machine_fields(machine), reason=reason)
            return
        self._activity.slain[reason] += 1
        log.info("slain", **machine_fields(machine), reason=reason, seconds=round(machine.age_seconds, 3))

    def _last_signs(self, machine: Machine) -> LastSigns:
        settings, now = self._settings, self._calls.clock()
        unlisted_seconds = now - self._unlisted_at.get(machine.id, now)
        return LastSigns(unlisted_seconds, settings.orphan_seconds, settings.boot_seconds + settings.orphan_seconds)


def _moment_after(seconds: float) -> str:
    """When a pause of so many seconds ends, for people. Of a short one no time, which would be news at each pause."""
    if seconds < _LONG_PAUSE_SECONDS:
        return "soon"
    return f"at {datetime.now(UTC) + timedelta(seconds=seconds):%H:%M} UTC"


def _nothing() -> None:
    """Put nothing back: a provider rents out as many such machines as are wanted."""
