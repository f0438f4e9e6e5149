"""Mutants: the project with exactly one guard removed. The simulation has to find each of them (``test_mutants``).

A mutant replaces private parts of the code on purpose, since guards are private. No other test may do so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import tests.simulation.plane
import webhook.api.notifications
import webhook.ledger.distrust
import webhook.ledger.fleet
import webhook.ledger.ledger
import webhook.outputs.presigning
import webhook.sources.s3
import webhook.sources.tigris
import webhook.sweep.manifests
import workers.lease_task
from tests.simulation.history import HistoryChoice, HistoryResult, run
from tests.simulation.plane import SimulatedPlane
from tests.simulation.store_clients import SimulatedObjectStore
from tests.simulation.world import WorldSettings
from webhook.events import EventOrder
from webhook.ledger import transitions
from webhook.ledger.ledger import Settlement
from webhook.ledger.policy import Policy
from webhook.outputs.publishing import Publishing
from webhook.storage import ListingPage, StoreError
from workers import handler_gate, transfer
from workers.protocol import Handling


@dataclass(frozen=True)
class Mutant:
    """One guard and the way to remove it."""

    name: str
    effect: str
    """What the project does without the guard."""
    patch: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    statements: frozenset[str] = frozenset()
    """Guards to remove within the model of the ledger's statements."""
    settle: Callable[[WorldSettings], WorldSettings] = lambda settings: settings


def _patched(target: object, name: str, new: Any) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    return lambda: mock.patch.object(target, name, new)


async def _no_condition(*_: Any) -> dict[str, str]:
    return {}


@contextlib.contextmanager
def _event_time_orders() -> Iterator[None]:
    real = webhook.sources.tigris._event

    def event(notification: Any) -> Any:
        parsed = real(notification)
        when = EventOrder("tigris", (notification.eventTime or "").encode())
        return replace_struct(parsed, version=replace_struct(parsed.version, order=when))

    with mock.patch.object(webhook.sources.tigris, "_event", event):
        yield


@contextlib.contextmanager
def _etag_identifies_event() -> Iterator[None]:
    real = webhook.sources.tigris._event

    def event(notification: Any) -> Any:
        parsed = real(notification)
        return replace_struct(parsed, mark=(parsed.version.etag or "").encode())

    with mock.patch.object(webhook.sources.tigris, "_event", event):
        yield


def replace_struct(thing: Any, **changes: Any) -> Any:
    """A copy of a msgspec struct with changed fields."""
    import msgspec

    return msgspec.structs.replace(thing, **changes)


@contextlib.contextmanager
def _answer_before_commit() -> Iterator[None]:
    real = SimulatedPlane.record

    async def record(self: SimulatedPlane, intakes: Sequence[Any]) -> Any:
        self.process.spawn(_ignoring_errors(real(self, intakes)))
        from collections import Counter

        return [Counter() for _ in intakes]

    with mock.patch.object(SimulatedPlane, "record", record):
        yield


async def _ignoring_errors(work: Any) -> None:
    with contextlib.suppress(Exception):
        await work


def _believe_first_404(
    row: transitions.LeasedRow, _policy: Policy, _jitter: Callable[[], float]
) -> transitions.NextState:
    if row.lane != "check":
        return transitions.NextState("pending", (), "check")
    return transitions.NextState("gone", ("gone",), forget=True)


_without_rerun = transitions._without_rerun


def _charge_released(
    row: transitions.LeasedRow, outcome: transitions.Outcome, policy: Policy, jitter: Callable[[], float]
) -> transitions.NextState:
    following = _without_rerun(row, outcome, policy, jitter)
    if isinstance(outcome, transitions.LeaseReleased):
        return replace(following, attempts=row.attempts)
    return following


@contextlib.contextmanager
def _failed_listing_ends() -> Iterator[None]:
    real = SimulatedObjectStore.list_page

    async def list_page(self: SimulatedObjectStore, *arguments: Any, **options: Any) -> ListingPage:
        try:
            return await real(self, *arguments, **options)
        except StoreError:
            return ListingPage((), "", False)

    with mock.patch.object(SimulatedObjectStore, "list_page", list_page):
        yield


@contextlib.contextmanager
def _ignore_manifests() -> Iterator[None]:
    async def none(*_: Any) -> list[Any]:
        return []

    async def nothing(*_: Any) -> None:
        return None

    with (
        mock.patch.object(webhook.sweep.manifests.Manifests, "results_of", none),
        mock.patch.object(workers.lease_task.LeaseTask, "earlier_version", nothing),
    ):
        yield


@contextlib.contextmanager
def _ignore_rerun() -> Iterator[None]:
    def decide(
        row: transitions.LeasedRow, outcome: transitions.Outcome, policy: Policy, jitter: Any
    ) -> transitions.NextState:
        after = transitions._without_rerun(row, outcome, policy, jitter)
        return replace(after, counted=(*after.counted, "superseded")) if row.rerun_requested else after

    with mock.patch.object(webhook.ledger.ledger, "decide", decide):
        yield


def _content_returns(settings: WorldSettings) -> WorldSettings:
    """Worlds in which earlier content often returns while workers are stalled."""
    return replace(settings, keys=("a.jpg",), contents=("A", "B"), operations=14, stall=0.05, workers=3)


def _lagging(settings: WorldSettings) -> WorldSettings:
    """Worlds in which one object is often overwritten, and regions lag far behind each other."""
    lag = replace(settings, regions=3, lag_seconds=9.0, replica_lag_seconds=10.0, payload="modified")
    return replace(lag, keys=("a.jpg",), operations=12, killer="")


def _set_back(settings: WorldSettings) -> WorldSettings:
    """Worlds in which the database's clock is set back by hours."""
    return replace(settings, clock_back=7200.0)


async def _follow_nothing(_database: object) -> float:
    return 0.0


def _killing(settings: WorldSettings) -> WorldSettings:
    """Worlds in which content often ends the worker, and several objects are at work."""
    keys = tuple(f"{letter}.jpg" for letter in "abcdef")
    return replace(settings, keys=keys, contents=("A", "B"), killer="A", workers=1, operations=30)


def _killing_late(settings: WorldSettings) -> WorldSettings:
    """The same, after the handler."""
    return replace(_killing(settings), killer_stage="publishing")


async def _begin_beside_others(self: handler_gate.HandlerGate, token: int, *, trial: bool) -> None:
    await self._turnstile.acquire()
    self._at_work.add(token)
    if trial:
        self._on_trial = token
    else:
        self._turnstile.release()


def _trial_over_after_the_handler(self: handler_gate.HandlerGate, settling: Collection[int] = ()) -> Handling:
    self._number += 1
    return Handling(number=self._number, tokens=sorted(self._inside), alone=self._on_trial is not None)


def _put_seconds_with_grace(lease: Any, *_: Any) -> int:
    return int(lease.left_seconds) + 300


def _beside(strategy: str, *, keys: int = 1, honest_after: float = 0.0) -> Callable[[WorldSettings], WorldSettings]:
    """Worlds with a hostile worker."""
    names = tuple(f"{letter}.jpg" for letter in "abcdefgh"[:keys])

    def settle(settings: WorldSettings) -> WorldSettings:
        operations = max(settings.operations, 2 * keys)
        return replace(
            settings, hostile=strategy, keys=names, operations=operations, honest_after=honest_after, workers=1
        )

    return settle


def _one_opinion(
    _row: transitions.LeasedRow, _policy: Policy, after: transitions.NextState, _jitter: Callable[[], float]
) -> transitions.NextState:
    return after


@contextlib.contextmanager
def _leave_results() -> Iterator[None]:
    async def rework(*_: Any) -> tuple[int, None]:
        return 0, None

    with (
        mock.patch.object(webhook.ledger.distrust, "rework", rework),
        mock.patch.object(webhook.ledger.fleet, "rework", rework),
    ):
        yield


async def _settle_first(self: Publishing, settlement: Settlement) -> Any:
    place = await self._settler.submit(settlement)
    if place is not None and isinstance(settlement.outcome, transitions.Published):
        removal = self._leftovers.remove(settlement.token, settlement.outcome.published)
        asyncio.get_running_loop().create_task(removal)
    return place


def _leaving_over(settings: WorldSettings) -> WorldSettings:
    """Worlds in which contents alternate that have an output more or less, and nothing fails but the store."""
    sound = replace(settings, kill=0.0, stall=0.0, database_fault=0.0, network_fault=0.0, handler_fault=0.0)
    sound = replace(sound, regions=1, lag_seconds=0.0, handler_missing=0.0, killer="", hostile="", late_effects=False)
    sound = replace(sound, replica_lag_seconds=0.0, lossy=False, duplicate=0.0, late=0.0, drop=0.0, batch=1)
    return replace(sound, keys=("a.jpg",), contents=("A", "C"), operations=40, crowded=False, store_fault=0.25)


def _always_true(*_: Any) -> bool:
    return True


def _always_false(*_: Any) -> bool:
    return False


MUTANTS = {
    mutant.name: mutant
    for mutant in (
        Mutant("token", "a settle is accepted under any token", statements=frozenset({"token"})),
        Mutant(
            "condition",
            "outputs are put without If-Match and If-None-Match",
            _patched(webhook.outputs.presigning, "_condition", _no_condition),
        ),
        Mutant("event-time", "events are ordered by eventTime", _event_time_orders),
        Mutant("etag-alone", "events are told apart by their ETag alone", _etag_identifies_event),
        Mutant("mark-before-work", "content counts as processed once it is leased", statements=frozenset({"mark"})),
        Mutant("before-commit", "events are answered 2xx before they are committed", _answer_before_commit),
        Mutant(
            "first-404",
            "the first 404 is believed",
            _patched(transitions, "_absent", _believe_first_404),
            frozenset({"first-404"}),
            lambda settings: replace(settings, absent_checks=1),
        ),
        Mutant("trust-listing", "a listing that fails counts as one that has ended", _failed_listing_ends),
        Mutant(
            "recheck",
            "an answer that is read at once is believed, however far regions may be behind",
            _patched(transitions, "_believed", _always_true),
        ),
        Mutant(
            "older",
            "content with an older Last-Modified than the known one is processed",
            _patched(transfer, "_behind", _always_false),
            settle=_lagging,
        ),
        Mutant("rerun-requested", "events that come during a lease are forgotten at its end", _ignore_rerun),
        Mutant(
            "interval",
            "a Ceph sequencer counts as the exact moment of the write",
            _patched(webhook.sources.s3, "CEPH_INEXACT_SECONDS", 0),
        ),
        Mutant("manifests", "results from before the ledger was lost are not looked for", _ignore_manifests),
        Mutant(
            "expiry",
            "presigned PUTs outlive the lease by five minutes",
            _patched(webhook.outputs.presigning, "put_seconds", _put_seconds_with_grace),
            settle=_content_returns,
        ),
        Mutant(
            "leftovers",
            "outputs that a new result does not have are removed after it is settled",
            _patched(Publishing, "settle", _settle_first),
            settle=_leaving_over,
        ),
        Mutant(
            "publish-started",
            "a lease that was lost while it published is forgotten",
            statements=frozenset({"publish-started"}),
            settle=_content_returns,
        ),
        Mutant(
            "unavailable-charged",
            "a lease that is given back counts as an attempt",
            _patched(transitions, "_without_rerun", _charge_released),
        ),
        Mutant(
            "in-handler",
            "every lease of a worker that is lost is charged",
            statements=frozenset({"in-handler"}),
            settle=_killing,
        ),
        Mutant(
            "alone",
            "a lease on trial begins while others of its worker are still at work",
            _patched(handler_gate.HandlerGate, "begin", _begin_beside_others),
            settle=_killing,
        ),
        Mutant(
            "trial-end",
            "a trial is over once the handler has ended",
            _patched(handler_gate.HandlerGate, "report", _trial_over_after_the_handler),
            statements=frozenset({"trial-lives"}),
            settle=_killing_late,
        ),
        Mutant(
            "lease-cap",
            "a worker gets as many leases as it asks for",
            statements=frozenset({"lease-cap"}),
            settle=_beside("hoard", keys=8),
        ),
        Mutant(
            "longest-life",
            "a lease lives for as long as it is renewed",
            statements=frozenset({"longest-life"}),
            settle=_beside("hoard"),
        ),
        Mutant(
            "second-opinion",
            "an object is parked on the word of one machine",
            _patched(transitions, "_with_second_opinion", _one_opinion),
            settle=_beside("fail"),
        ),
        Mutant(
            "returns",
            "an object may be given back for ever",
            _patched(transitions, "MOST_RETURNS", 10**9),
            settle=_beside("release", honest_after=600.0),
        ),
        Mutant(
            "lease-worker",
            "a lease is used by any worker that knows its token",
            statements=frozenset({"worker"}),
            settle=_beside("mixed"),
        ),
        Mutant(
            "distrust",
            "what a worker reported stands after it was found out",
            _leave_results,
            settle=_beside("lie"),
        ),
        Mutant(
            "clock",
            "moments stay as they are when the database's clock is set back",
            _patched(tests.simulation.plane, "follow_clock", _follow_nothing),
            settle=_set_back,
        ),
        Mutant(
            "deadline",
            "a notification is answered whenever the ledger answers",
            _patched(webhook.api.notifications, "ANSWER_SECONDS", 1e9),
        ),
    )
}

FOUND = {
    "token": 3,
    "condition": 246,
    "event-time": 0,
    "etag-alone": 0,
    "mark-before-work": 0,
    "before-commit": 0,
    "first-404": 58,
    "trust-listing": 26,
    "recheck": 31,
    "older": 238,
    "rerun-requested": 8,
    "interval": 14,
    "manifests": 25,
    "expiry": 52,
    "leftovers": 127,
    "publish-started": 40,
    "unavailable-charged": 7,
    "in-handler": 0,
    "alone": 0,
    "trial-end": 0,
    "lease-cap": 1,
    "longest-life": 37,
    "second-opinion": 1,
    "returns": 3,
    "lease-worker": 2,
    "distrust": 0,
    "clock": 0,
    "deadline": 1,
}
"""Seed at which each mutant was found. Tests try it first, and then all others, since worlds may change."""


def run_without(name: str, choice: HistoryChoice) -> HistoryResult:
    """Run one history of a mutant."""
    mutant = MUTANTS[name]
    with mutant.patch():
        return run(replace(choice, without=mutant.statements, settle=mutant.settle))


def search(name: str, seeds: Sequence[int]) -> HistoryResult | None:
    """The first history that violates an invariant; None where there is none."""
    for seed in seeds:
        result = run_without(name, HistoryChoice(seed))
        if result.violation is not None:
            return result
    return None
