"""What becomes of a leased object: the one place that decides its next state. Pure: no clock, no database.

An accepted change is one unit that is always somewhere: pending, leased, parked, or counted as done, unchanged,
superseded or gone. A leased object holds one unit, and a second one when an event came meanwhile (``again``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

State = Literal["pending", "done", "parked", "gone"]
Lane = Literal["work", "check"]


@dataclass(frozen=True, slots=True)
class Leased:
    """A row whose lease is being settled."""

    id: int
    pipeline_id: int
    lane: Lane
    attempts: int
    """This lease counted."""
    again: bool
    again_lane: Lane | None
    again_etag: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """The content was processed and published."""

    etag: str
    modified: datetime | None
    published: Mapping[str, str]
    """Output name to ETag."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The content is what the last result was made from."""


@dataclass(frozen=True, slots=True)
class Absent:
    """The store said that there is no such object."""


@dataclass(frozen=True, slots=True)
class Present:
    """The store said that the object is there."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be processed."""

    reason: str
    message: str
    retry: bool
    log: str = ""


@dataclass(frozen=True, slots=True)
class Released:
    """Given back, for a reason of the worker's own."""


Outcome = Done | Unchanged | Absent | Present | Failed | Released

LOST = Failed(
    "lost",
    "The worker stopped answering while it had this object. If that happens every time, the object may be what kills it: "
    "look at the worker's log, or give its handler less memory.",
    retry=True,
)
"""A lease that ran out, or whose worker is gone."""

_STORE_FAULTS = frozenset({"store", "replica-behind"})
"""Faults of the store, not of the object: worth many more attempts before a person has to look."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How often, and how long after."""

    attempts: int
    """Before the object is parked."""
    store_attempts: int
    """Before an object that only the store's faults keep from being worked is parked."""
    absent_checks: int
    """How often in a row the store must say 404 before it is believed."""
    backoff_seconds: float
    """After the first failed attempt; doubles with each."""
    backoff_limit_seconds: float

    def delay_seconds(self, attempts: int, jitter: Callable[[], float]) -> float:
        """Wait before the next attempt: exponential, times a jitter from [0.5, 1.0)."""
        exponential = self.backoff_seconds * 2.0 ** min(attempts - 1, 30)
        return min(self.backoff_limit_seconds, exponential) * (0.5 + jitter() / 2)


@dataclass(frozen=True, slots=True)
class Next:
    """The row after the settlement."""

    state: State
    counted: tuple[str, ...]
    """Names of the units that ended here."""
    lane: Lane = "work"
    delay_seconds: float = 0
    attempts: int = 0
    error: Failed | None = None
    result: Done | None = None
    restart: bool = False
    """A change that came during the lease takes over."""
    forget: bool = False
    """The object is not there: what was known of its contents and results is void."""


def decide(row: Leased, outcome: Outcome, policy: Policy, jitter: Callable[[], float]) -> Next:
    """The next state of a leased row."""
    after = _alone(row, outcome, policy, jitter)
    if not row.again:
        return after
    if isinstance(outcome, Done) and row.again_lane == "work" and row.again_etag == outcome.etag:
        # Every event since the lease named the content that was fetched: nothing is left to do for them.
        return replace(after, counted=(*after.counted, "superseded"))
    # The newer change takes the row over. A unit that had not ended by itself is superseded by it.
    return replace(
        after,
        state="pending",
        counted=after.counted or ("superseded",),
        lane=row.again_lane or "work",
        delay_seconds=0,
        attempts=0,
        error=None,
        restart=True,
    )


def _alone(row: Leased, outcome: Outcome, policy: Policy, jitter: Callable[[], float]) -> Next:
    """The next state if no event came during the lease."""
    delay = policy.delay_seconds(row.attempts, jitter)
    match outcome:
        case Done():
            return Next("done", ("done",), result=outcome)
        case Unchanged():
            return Next("done", ("unchanged",))
        case Released():
            return Next("pending", (), row.lane, delay, max(0, row.attempts - 1))
        case Present():
            return Next("pending", (), attempts=row.attempts)
        case Absent():
            return _absent(row, policy, delay)
        case Failed():
            return _failed(row, outcome, policy, delay)


def _absent(row: Leased, policy: Policy, delay_seconds: float) -> Next:
    if row.attempts >= policy.absent_checks:
        return Next("gone", ("gone",), forget=True)
    return Next("pending", (), "check", delay_seconds, row.attempts)


def _failed(row: Leased, failed: Failed, policy: Policy, delay_seconds: float) -> Next:
    limit = policy.store_attempts if failed.reason in _STORE_FAULTS else policy.attempts
    if failed.retry and row.attempts < limit:
        return Next("pending", (), row.lane, delay_seconds, row.attempts, failed)
    return Next("parked", (), row.lane, attempts=row.attempts, error=failed)
