"""Decides how many machines a pool needs and which must go. Pure: no clock, no network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from webhook.fleet.ahead import NOTHING_AHEAD, AheadOfWork
from webhook.fleet.providers import Instance
from webhook.ledger.machines import Cause, Demand, Machine, MachineState
from webhook.pool_settings import Pool

EMPTY_SECONDS = 20.0
"""A list that lags is believed to be empty once it has been for so long."""
EDGE_SECONDS = 120
"""Where the budget lasts for less, nothing is minted and idle machines leave."""
SPARE_SECONDS = 600
"""Where the budget does not carry a machine for so long beside, none is minted ahead of the work: at the edge it would
leave, which frees what it had bound, and with that another one would be minted at once."""
DRAIN_SECONDS = 30
"""Where it lasts for less, all machines are drained: the time in which the autoscaler surely looks again."""
STARTING = frozenset({MachineState.INTENDED, MachineState.BOOTING})
"""States of machines that will call home."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What one provider listed."""

    instances: Mapping[str, Instance]
    """By label."""
    age_seconds: float
    """Since it was asked for, when the rows were read."""
    lag_seconds: float
    """See `Provider.lag_seconds`."""
    empty_seconds: float = math.inf
    """How long it has been empty, as far as it was asked for."""

    @property
    def is_settled(self) -> bool:
        """Whether what it lacks is gone: a provider may return an empty list, and a moment later the truth."""
        return bool(self.instances) or self.lag_seconds == 0 or self.empty_seconds >= EMPTY_SECONDS

    def covers(self, machine: Machine) -> bool:
        """Whether it must show what ``machine`` became when it came into its present state."""
        return machine.state_seconds > self.age_seconds + self.lag_seconds

    def lacks(self, machine: Machine) -> bool:
        """Whether it lacks a machine although it covers it."""
        return machine.label not in self.instances and self.covers(machine)

    def misses(self, machine: Machine) -> bool:
        """Whether a machine that has been started does not exist any more.

        A machine that still calls exists, though a list that lags may not show it.
        """
        silent = self.lag_seconds == 0 or machine.state in STARTING or machine.silent_seconds > self.lag_seconds
        return self.lacks(machine) and silent


@dataclass(frozen=True, slots=True)
class Adopt:
    """The provider shows a machine whose ref was never written down: a crash came between."""

    machine: Machine
    instance: Instance


@dataclass(frozen=True, slots=True)
class Drain:
    """Give it no more leases."""

    machine: Machine
    reason: str


@dataclass(frozen=True, slots=True)
class Slay:
    """Revoke its token if that is not done, and have the provider destroy what there is."""

    machine: Machine
    reason: str
    instance: Instance | None


@dataclass(frozen=True, slots=True)
class MarkGone:
    """The provider no longer lists it: it is gone."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class Reprice:
    """The provider shows another price than the ledger."""

    machine: Machine
    usd_per_hour: Decimal


Action = Adopt | Slay | MarkGone | Reprice
"""What is done about a single machine, whatever the others of its pool are."""


@dataclass(frozen=True, slots=True)
class Money:
    """What a pool may still spend. Amounts in US dollars."""

    left: Decimal | None = None
    """Of the day's budget, once all that machines can still cost is taken off; None: there is no budget."""

    def lasts(self, machines: Iterable[Machine], seconds: int) -> bool:
        """Whether it is enough for so long, if all of these machines go on."""
        if self.left is None:
            return True
        return self.left >= sum((m.usd_per_hour for m in machines), Decimal(0)) * seconds / 3600


NO_BUDGET = Money()
NO_WORK = Demand(pending=0, leased=0)


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many machines a pool gets more, and which it has to let go."""

    causes: Sequence[Cause]
    """Why each machine that it gets more is minted."""
    wanted: int
    drains: Sequence[Drain]
    at_budget: bool
    """Whether more are not minted since the budget is spent."""

    @property
    def mint(self) -> int:
        """Machines that the pool gets more."""
        return len(self.causes)


def look_after(pool: Pool, machines: Sequence[Machine], listing: Listing | None) -> list[Action]:
    """What to do about each of a pool's machines at one provider.

    Args:
        pool: Its settings.
        machines: All of the pool's at that provider that are not gone.
        listing: None where the provider did not answer.

    """
    believed = credible_listing(pool, machines, listing)
    # The listing itself is used here, believed or not: what it shows can be destroyed in any case.
    slain = [_slay(machine, reason, listing) for machine, reason in _to_slay(pool, machines, believed)]
    condemned = {action.machine.id for action in slain}
    left = [machine for machine in machines if machine.id not in condemned]
    return [*slain, *_gone(machines, believed), *_adopted(left, listing), *_repriced(left, listing)]


def scale(
    pool: Pool,
    demand: Demand,
    machines: Sequence[Machine],
    money: Money = NO_BUDGET,
    ahead: AheadOfWork = NOTHING_AHEAD,
) -> Scaling:
    """How many machines a pool needs more, and which have to go.

    Args:
        pool: Its settings.
        demand: What there is to do.
        machines: All of the pool's that are not gone, at all providers.
        money: What it may still spend today.
        ahead: What it is to have without any work.

    """
    starting = [machine for machine in machines if machine.state in STARTING]
    leaving = [Drain(m, reason) for m in machines if m.state is MachineState.READY and (reason := _misplaced(pool, m))]
    left = {drain.machine.id for drain in leaving}
    ready = [m for m in machines if m.state is MachineState.READY and m.id not in left]
    # All machines count, those to be slain too: their leases go back to the queue only once they are slain.
    by_cause = wanted_machines(pool, demand, machines, ahead)
    wanted, there = max(by_cause.values()), len(starting) + len(ready)
    # Machines that are being slain still cost money: they count in the limit until they are gone.
    missing = range(there, min(wanted, there + pool.limit - len(machines)))
    at_budget = not money.lasts([*starting, *ready], EDGE_SECONDS)
    return Scaling(
        causes=[] if at_budget else [_cause(by_cause, number) for number in missing],
        wanted=wanted,
        drains=[*leaving, *_drained(pool, ready, len(starting), wanted, money, demand)],
        at_budget=at_budget and len(missing) > 0,
    )


def _misplaced(pool: Pool, machine: Machine) -> str:
    """Why a pool would not rent a machine again that it has; empty: it would."""
    if machine.provider not in pool.provider_names:
        return "moved"
    return "price" if too_dear(pool, machine) else ""


def too_dear(pool: Pool, machine: Machine) -> bool:
    """Whether a machine costs more than one may: its provider charges another price than it had offered."""
    return pool.max_usd_per_hour is not None and machine.usd_per_hour > pool.max_usd_per_hour


def _cause(wanted: Mapping[Cause, int], number: int) -> Cause:
    """Why there has to be a machine beside ``number`` others: the first reason that wants so many."""
    return next(cause for cause, count in wanted.items() if count > number)


def with_silence_heard(pool: Pool, machine: Machine, listening_seconds: float) -> Machine:
    """What its ages prove: while the control plane was away, a machine has called in vain.

    But not for ever: without an answer it has ended itself after ``orphan_seconds``, with ``boot_seconds`` before its
    first one, or never will. A control plane that restarts again and again would never see its silence last.
    """
    if must_have_ended(pool, machine):
        return machine
    # A control plane that was down for an hour must not slay every worker that it has not heard of for an hour.
    silent_seconds, age_seconds = min(machine.silent_seconds, listening_seconds), machine.age_seconds
    if machine.state in STARTING:
        age_seconds = min(age_seconds, listening_seconds)
    if (silent_seconds, age_seconds) == (machine.silent_seconds, machine.age_seconds):
        return machine  # as a rule: a copy of each of a thousand machines takes longer than all that is decided
    return replace(machine, silent_seconds=silent_seconds, age_seconds=age_seconds)


def must_have_ended(pool: Pool, machine: Machine) -> bool:
    """Whether it has been without an answer for longer than any machine waits for one."""
    if machine.state in STARTING:
        return machine.age_seconds > pool.boot_seconds + pool.orphan_seconds
    return machine.silent_seconds > pool.orphan_seconds + pool.silent_seconds


def wanted_machines(
    pool: Pool, demand: Demand, machines: Iterable[Machine], ahead: AheadOfWork = NOTHING_AHEAD
) -> dict[Cause, int]:
    """How many machines each reason wants, up to the limit: the pool needs the most of these, not their sum.

    Demand is all that is pending or leased, but not what draining machines finish by themselves; and ``headroom``.
    """
    # Draining machines finish what they hold: to mint others for that would pay twice.
    leaving = (MachineState.DRAINING, MachineState.SLAYING)
    draining = sum(min(machine.leased, pool.slots) for machine in machines if machine.state in leaving)
    objects = demand.pending + max(0, demand.leased - draining)
    wanted = {
        Cause.DEMAND: _machines_for(pool, objects) + demand.machines,
        Cause.MINIMUM: pool.minimum,
        Cause.SCHEDULE: ahead.schedule,
        Cause.WAKE: ahead.wake,
        Cause.LEARNED: ahead.learned,
    }
    return {cause: min(count, pool.limit) for cause, count in wanted.items()}


def _machines_for(pool: Pool, objects: int) -> int:
    needed = math.ceil(objects / pool.slots)
    # Rounded down: a single object never rents two machines.
    return needed + int(needed * pool.headroom)


def credible_listing(pool: Pool, machines: Iterable[Machine], listing: Listing | None) -> Listing | None:
    """The list, unless it is empty and contradicts machines that live. One that is the truth never does.

    None ends nothing and mints nothing. An empty list is believed once all machines are silent or overdue.
    """
    # An empty list is what a provider with a fault returns, and what would make every machine look gone.
    if listing is None or listing.instances or listing.lag_seconds == 0:
        return listing
    contradicted = any(listing.covers(machine) and _lives(pool, machine) for machine in machines)
    return None if contradicted else listing


def _lives(pool: Pool, machine: Machine) -> bool:
    if machine.state in (MachineState.READY, MachineState.DRAINING):
        return machine.silent_seconds <= pool.silent_seconds
    return machine.state is MachineState.BOOTING and machine.age_seconds <= pool.boot_seconds


def _to_slay(pool: Pool, machines: Iterable[Machine], listing: Listing | None) -> Iterable[tuple[Machine, str]]:
    """Which machines must be slain, those that already are being slain included, and why."""
    for machine in machines:
        if machine.state is MachineState.SLAYING:
            # A list that lacks the machine ends it (``_gone``). Else it is slain again: a provider may lose an order.
            if listing is None or not listing.lacks(machine):
                yield machine, machine.reason or "slaying"
        elif reason := _fault(pool, machine, listing):
            yield machine, reason


def _fault(pool: Pool, machine: Machine, listing: Listing | None) -> str | None:
    instance = listing.instances.get(machine.label) if listing else None
    if instance and not instance.running:
        return "exited"
    if machine.state in STARTING:
        return _start_fault(pool, machine, listing)
    # Drained first: a machine that has finished is slain at once, however long it drained.
    if machine.state is MachineState.DRAINING and machine.busy == 0:
        return "drained"
    if machine.state is MachineState.DRAINING and machine.state_seconds > pool.drain_seconds:
        return "drain-deadline"
    # Any call counts, so a worker in a long poll is silent for no longer than the poll.
    if machine.silent_seconds > pool.silent_seconds:
        return "silent"
    return "vanished" if listing and listing.misses(machine) else None


def _start_fault(pool: Pool, machine: Machine, listing: Listing | None) -> str | None:
    if machine.age_seconds > pool.boot_seconds:
        return "boot-deadline"
    if too_dear(pool, machine):
        return "price"
    if listing is None:
        return None
    if machine.state is MachineState.BOOTING:
        return "vanished" if listing.misses(machine) else None
    # The call that was to mint it has long returned or been given up: there was a crash before it.
    overdue = machine.state_seconds > pool.mint_seconds + listing.age_seconds + listing.lag_seconds
    return "never-minted" if overdue and machine.label not in listing.instances else None


def _slay(machine: Machine, reason: str, listing: Listing | None) -> Slay:
    instance = listing.instances.get(machine.label) if listing else None
    # A list that lags may not show it yet: the recorded ref is enough to have it destroyed.
    if instance is None and machine.ref is not None:
        instance = Instance(machine.label, machine.ref)
    return Slay(machine, reason, instance)


def _gone(machines: Iterable[Machine], listing: Listing | None) -> list[MarkGone]:
    if listing is None or not listing.is_settled:
        return []
    return [
        MarkGone(machine) for machine in machines if machine.state is MachineState.SLAYING and listing.lacks(machine)
    ]


def _adopted(machines: Iterable[Machine], listing: Listing | None) -> list[Adopt]:
    shown = listing.instances if listing else {}
    return [
        Adopt(machine, shown[machine.label])
        for machine in machines
        if machine.ref is None and machine.state is not MachineState.SLAYING and machine.label in shown
    ]


def _repriced(machines: Iterable[Machine], listing: Listing | None) -> list[Reprice]:
    shown = listing.instances if listing else {}
    return [
        Reprice(machine, price)
        for machine in machines
        if machine.label in shown
        and (price := shown[machine.label].usd_per_hour) is not None
        and price != machine.usd_per_hour
    ]


def _drained(
    pool: Pool, ready: Sequence[Machine], starting: int, wanted: int, money: Money, demand: Demand
) -> list[Drain]:
    """Surplus machines that have long been idle, and what exceeds the limit; at most half at once while there is work.

    Where the budget ends: idle machines at its edge, and then all, while there is money left to finish their work.
    """
    # The least busy, the dearest and the longest idle first: these end soonest and interrupt nothing.
    order = sorted(ready, key=lambda m: (m.busy, -m.usd_per_hour, -m.idle_seconds, m.id))
    if not money.lasts(ready, DRAIN_SECONDS):
        return [Drain(machine, "budget") for machine in order]
    if not money.lasts(ready, EDGE_SECONDS):
        return [Drain(machine, "budget") for machine in order if machine.busy == 0]
    surplus, excess = max(0, len(ready) - wanted), max(0, len(ready) + starting - pool.limit)
    idle = [m for m in order if m.busy == 0 and m.idle_seconds >= _keep_seconds(pool, m)][:surplus]
    over = [machine for machine in order if machine not in idle][: max(0, excess - len(idle))]
    drains = [Drain(machine, "idle") for machine in idle] + [Drain(machine, "limit") for machine in over]
    if not starting and demand == NO_WORK:
        return drains  # they have waited as long as the settings say, and nothing is left that more could come of
    # Half at a time: demand may be back at the next turn, and a drained machine cannot be taken back.
    return drains[: max(1, len(ready) // 2)]


def _keep_seconds(pool: Pool, machine: Machine) -> float:
    """For how long a machine is kept that has nothing to do: by its service, or else by its pool."""
    return pool.idle_seconds if machine.keep_seconds is None else machine.keep_seconds
