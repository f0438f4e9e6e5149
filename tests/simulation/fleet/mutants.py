"""Mutants of the fleet: the project with one guard removed. Simulated days have to find each of them.

A mutant replaces private parts of the code on purpose, since guards are private. No other test may do so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import webhook.fleet.ahead
import webhook.fleet.pool_at_provider
import webhook.fleet.pool_loop
import webhook.fleet.provider_calls
import webhook.fleet.scaling
import webhook.fleet.strangers
from tests.simulation.fleet.day import RentedFleet, SimulatedDay, run
from tests.simulation.fleet.watched_machine import SelfSlaying
from tests.webhook.fleet.fleet_memory import MemoryFleet
from webhook.fleet.ahead import AheadOfWork, Foresight
from webhook.fleet.pool_at_provider import PoolAtProvider
from webhook.fleet.provider_loop import ProviderLoop
from webhook.fleet.scaling import STARTING, Listing, Money, Scaling, scale
from webhook.ledger.machines import Cause, Demand, Intent, Machine, MachineState, NotIntended, Terms, Wish
from webhook.pool_settings import Pool


@dataclass(frozen=True)
class FleetMutant:
    """One guard of the fleet and the way to remove it."""

    effect: str
    """What the project does without the guard."""
    patch: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    slaying: SelfSlaying = field(default_factory=SelfSlaying)


def _patched(target: object, name: str, new: Any) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    return lambda: mock.patch.object(target, name, new)


@contextlib.contextmanager
def _row_after_the_order() -> Iterator[None]:
    intend, minted = RentedFleet.intend, RentedFleet.minted
    hidden: dict[int, Any] = {}

    async def intend_unwritten(self: RentedFleet, *what: Any) -> Intent | NotIntended:
        intent = await intend(self, *what)
        if isinstance(intent, Intent):
            hidden[intent.id] = self.rows.pop(intent.id)
            del self.living[intent.id]
        return intent

    async def minted_written(self: RentedFleet, id: int, ref: str) -> bool:
        if id in hidden:
            self.rows[id] = self.living[id] = hidden.pop(id)
        return await minted(self, id, ref)

    with (
        mock.patch.object(RentedFleet, "intend", intend_unwritten),
        mock.patch.object(RentedFleet, "minted", minted_written),
    ):
        yield


async def _slay_no_unknown(*_: object) -> None:
    pass


@contextlib.contextmanager
def _believe_every_list() -> Iterator[None]:
    def believed(_pool: Pool, _machines: object, listing: Listing | None) -> Listing | None:
        return listing

    with (
        mock.patch.object(webhook.fleet.scaling, "credible_listing", believed),
        mock.patch.object(webhook.fleet.pool_at_provider, "credible_listing", believed),
        mock.patch.object(Listing, "is_settled", True),
    ):
        yield


def _starting_is_nothing(
    pool: Pool, demand: Demand, machines: Sequence[Machine], money: Money, ahead: AheadOfWork
) -> Scaling:
    return scale(pool, demand, [machine for machine in machines if machine.state not in STARTING], money, ahead)


def _objects_only(pool: Pool, demand: Demand, machines: Sequence[Machine], money: Money, ahead: AheadOfWork) -> Scaling:
    return scale(pool, replace(demand, machines=0), machines, money, ahead)


_intend, _accrue = MemoryFleet.intend, MemoryFleet.accrue


async def _intend_without_budget(
    self: MemoryFleet, pool: str, provider: str, limit: int, terms: Terms, _budget: object, cause: Cause
) -> Intent | NotIntended:
    return await _intend(self, pool, provider, limit, terms, cause=cause)


async def _intend_beyond_the_limit(
    self: MemoryFleet, pool: str, provider: str, _limit: int, *terms: Any
) -> Intent | NotIntended:
    return await _intend(self, pool, provider, 1_000_000, *terms)


async def _avoid_nothing(*_: object) -> None:
    pass


async def _note_nothing(*_: object) -> None:
    pass


_fault = webhook.fleet.scaling._fault


def _slay_what_drains(pool: Pool, machine: Machine, listing: Listing | None) -> str | None:
    return "drained" if machine.state is MachineState.DRAINING else _fault(pool, machine, listing)


async def _wished_by_none(self: MemoryFleet, _pool: str) -> Wish:
    return Wish(0, self.moment)


def _no_window_opens(*_: object) -> int:
    return 0


def _nothing_is_learned(*_: object) -> bool:
    return False


_now = Foresight.now


async def _wishes_have_no_end(self: Foresight) -> AheadOfWork:
    ahead = await _now(self)
    self.wake = max(ahead.wake, getattr(self, "wake", 0))  # type: ignore[attr-defined]
    return replace(ahead, wake=self.wake)  # type: ignore[attr-defined]


async def _accrue_all(self: MemoryFleet, _ids: object) -> None:
    await _accrue(self, None)


FLEET_MUTANTS = {
    "costs-of-the-listed": FleetMutant(
        "what the list lacks is taken to cost on, until it is taken for gone",
        _patched(MemoryFleet, "accrue", _accrue_all),
    ),
    "asked-again": FleetMutant(
        "a provider is asked once to destroy a machine",
        _patched(webhook.fleet.provider_calls, "ASK_AGAIN_SECONDS", 1e9),
    ),
    "stranger": FleetMutant(
        "a label of another installation of the same name counts as unknown",
        _patched(webhook.fleet.strangers, "installation_of", lambda _: ""),
    ),
    "contested": FleetMutant(
        "machines are minted beside those of another installation of the same name",
        _patched(webhook.fleet.pool_at_provider.PoolAtProvider, "contested", False),
    ),
    "intent-first": FleetMutant("the row is written once the provider has answered", _row_after_the_order),
    "sweep": FleetMutant(
        "what the provider lists and the ledger does not know is left",
        _patched(ProviderLoop, "_slay_unknown", _slay_no_unknown),
    ),
    "freeze": FleetMutant("a list that cannot be true is believed", _believe_every_list),
    "booting-counted": FleetMutant(
        "machines that boot do not count", _patched(webhook.fleet.pool_loop, "scale", _starting_is_nothing)
    ),
    "budget": FleetMutant(
        "the budget is not looked at when an intent is written", _patched(MemoryFleet, "intend", _intend_without_budget)
    ),
    "limit": FleetMutant(
        "the limit is looked at by each leader for itself, and not when an intent is written",
        _patched(MemoryFleet, "intend", _intend_beyond_the_limit),
    ),
    "orphans": FleetMutant("an agent waits for its control plane for ever", slaying=SelfSlaying(orphans_leave=False)),
    "self-slaying": FleetMutant(
        "a machine is left to its provider when its agent has ended", slaying=SelfSlaying(destroys=False)
    ),
    "hanging": FleetMutant("an agent that hangs is left", slaying=SelfSlaying(kills_hanging=False)),
    "avoidance": FleetMutant(
        "a machine that did not boot is rented again", _patched(MemoryFleet, "avoid", _avoid_nothing)
    ),
    "unanswered-counted": FleetMutant(
        "what an order without an answer has made is destroyed, and was never noted",
        _patched(PoolAtProvider, "_note_existence", _note_nothing),
    ),
    "silence-ends": FleetMutant(
        "silence counts anew after every restart, however long it was",
        _patched(webhook.fleet.scaling, "must_have_ended", lambda *_: False),
    ),
    "outlived-counted": FleetMutant(
        "what has not ended itself as it had to is destroyed before its costs were counted",
        _patched(PoolAtProvider, "_note_costs", _note_nothing),
    ),
    "unseen-awaited": FleetMutant(
        "what must have ended itself is destroyed though no list has shown whether it has",
        _patched(PoolAtProvider, "_awaits_list", lambda *_: False),
    ),
    "dear-leave": FleetMutant(
        "what costs more than one machine may goes on",
        _patched(webhook.fleet.scaling, "too_dear", lambda *_: False),
    ),
    "serving-counted": FleetMutant(
        "a machine that serves a request and has no lease counts as idle",
        _patched(Machine, "busy", property(lambda machine: machine.leased)),
    ),
    "services-wanted": FleetMutant(
        "requests of services want no machine", _patched(webhook.fleet.pool_loop, "scale", _objects_only)
    ),
    "draining": FleetMutant(
        "a machine that is to go is destroyed at once", _patched(webhook.fleet.scaling, "_fault", _slay_what_drains)
    ),
    "wakes": FleetMutant("wishes are not looked at", _patched(MemoryFleet, "wished", _wished_by_none)),
    "wishes-end": FleetMutant("a wish holds for ever", _patched(Foresight, "now", _wishes_have_no_end)),
    "schedules": FleetMutant(
        "windows never open", _patched(webhook.fleet.ahead, "scheduled_minimum", _no_window_opens)
    ),
    "learning": FleetMutant(
        "work is never expected", _patched(webhook.fleet.ahead, "is_work_likely", _nothing_is_learned)
    ),
}

FLEET_FOUND = {
    "costs-of-the-listed": 1,
    "asked-again": 14,
    "stranger": 0,
    "contested": 0,
    "intent-first": 7,
    "sweep": 1,
    "freeze": 18,
    "booting-counted": 1,
    "budget": 19,
    "limit": 90,
    "orphans": 1,
    "self-slaying": 1,
    "hanging": 17,
    "avoidance": 0,
    "unanswered-counted": 7,
    "silence-ends": 5,
    "outlived-counted": 121,
    "unseen-awaited": 1,
    "dear-leave": 10,
    "serving-counted": 10,
    "services-wanted": 2,
    "draining": 1,
    "wakes": 7,
    "wishes-end": 3,
    "schedules": 21,
    "learning": 138,
}
"""Day on which each mutant was found. Tests try it first, and then all others, since worlds may change."""


def run_mutant(name: str, seed: int) -> SimulatedDay:
    """Run one day of a mutant."""
    mutant = FLEET_MUTANTS[name]
    with mutant.patch():
        return run(seed, slaying=mutant.slaying)


def first_found(name: str, seeds: Sequence[int]) -> SimulatedDay | None:
    """The first day on which an invariant is violated; None where there is none."""
    return next((day for seed in seeds if (day := run_mutant(name, seed)).failure is not None), None)
