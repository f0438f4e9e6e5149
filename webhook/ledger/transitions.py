"""What becomes of a leased object: the one place that decides its next state. Pure: no clock, no database.

An accepted change is one unit that is always somewhere: pending, leased, parked, or counted as done, unchanged,
superseded, gone or forgotten. A leased object holds one unit, and a second one when an event came meanwhile
(``rerun_requested``).

Regions of one store lag behind each other, so an answer may be older than the event that made us ask. It is believed
where it confirms what the events said, or where it was asked for so long after the last event that no region can be
that late (``Policy.replica_lag_seconds``). Otherwise the ledger orders one more look for that time, which is a unit of
its own (``recheck``) where a result was published meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Literal

ObjectState = Literal["pending", "done", "parked", "gone"]
Lane = Literal["work", "check"]


@dataclass(frozen=True, slots=True)
class LeasedRow:
    """A row whose lease is being settled."""

    id: int
    pipeline_id: int
    lane: Lane
    attempts: int
    """Leases that counted, this one among them: in ``work`` towards parking, in ``check`` the 404s in a row."""
    faults: int
    """The store's own, since the last change."""
    rerun_requested: bool
    rerun_lane: Lane | None
    event_etag: str | None
    """The one ETag that all events since the last result named, or None."""
    done_etag: str | None
    """Of the last result's input."""
    asked_after_seconds: float
    """From the last event to the lease: the answer cannot be older than that. Negative with ``rerun_requested``."""
    unseen_seconds: float
    """From the last event or read that said that the object exists to the lease."""
    event_age_seconds: float
    """From the last event to now."""


@dataclass(frozen=True, slots=True)
class Published:
    """The content was processed and published."""

    word: ClassVar[str] = "done"

    etag: str
    modified: datetime | None
    published: Mapping[str, str]
    """Output name to ETag."""


@dataclass(frozen=True, slots=True)
class SameContent:
    """The content is what the last result was made from."""

    word: ClassVar[str] = "unchanged"

    result: Published | None = None
    """That result, where the worker knows it from its manifest and the ledger may not."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """The store said that there is no such object."""

    word: ClassVar[str] = "absent"


@dataclass(frozen=True, slots=True)
class Present:
    """The store said that the object is there."""

    word: ClassVar[str] = "present"


@dataclass(frozen=True, slots=True)
class Failure:
    """It could not be processed."""

    word: ClassVar[str] = "failed"

    reason: str
    message: str
    retry: bool
    log: str = ""


@dataclass(frozen=True, slots=True)
class LeaseReleased:
    """Given back, for a reason of the worker's own."""

    word: ClassVar[str] = "released"


@dataclass(frozen=True, slots=True)
class Restoring:
    """The object is in an archive, and the store is bringing it back."""

    word: ClassVar[str] = "restoring"


Outcome = Published | SameContent | NotFound | Present | Failure | LeaseReleased | Restoring

LOST = Failure(
    "lost",
    "The worker stopped answering while it had this object. If that happens every time, the object may be what kills "
    "it: look at the worker's log, or give its handler less memory.",
    retry=True,
)
"""A lease that ran out, or whose worker is gone."""

CONFLICTING_ANSWERS = Failure(
    "replica-behind",
    "The store says both that this object is there and that it is not. Look at the bucket, and at the store's status "
    "page.",
    retry=True,
)
"""A worker's 404 about an object that the control plane finds."""

BEING_RESTORED = Failure(
    "archived", "The file is in an archive tier, and the store was asked to bring it back.", retry=True
)
"""An object that waits for its archive."""

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
    replica_lag_seconds: float = 0
    """How far a region may be behind the one that told of a change. 0: the store is strongly consistent."""
    restores: bool = False
    """Whether the control plane has archived objects restored."""
    restore_seconds: float = 300
    """Between two looks whether an object was restored."""

    def delay_seconds(self, attempts: int, jitter: Callable[[], float]) -> float:
        """Wait before the next attempt: exponential, times a jitter from [0.5, 1.0)."""
        exponential = self.backoff_seconds * 2.0 ** min(attempts - 1, 30)
        return min(self.backoff_limit_seconds, exponential) * (0.5 + jitter() / 2)


DEFAULT_POLICY = Policy(
    attempts=5,
    store_attempts=50,
    absent_checks=3,
    backoff_seconds=1.0,
    backoff_limit_seconds=300.0,
    replica_lag_seconds=30.0,
)
"""For objects of a pipeline that this process's configuration does not name: another's does, or it was taken out."""


@dataclass(frozen=True, slots=True)
class NextState:
    """The row after the settlement."""

    state: ObjectState
    counted: tuple[str, ...]
    """Names of the units that ended here."""
    lane: Lane = "work"
    delay_seconds: float = 0
    attempts: int = 0
    faults: int = 0
    error: Failure | None = None
    result: Published | None = None
    restart: bool = False
    """A change that came during the lease takes over."""
    forget: bool = False
    """The object is not there: what was known of its contents and results is void."""

    seen: bool = False
    """The store said that the object exists."""

    @property
    def finished(self) -> bool:
        """Whether there is a result for what was fetched."""
        return "done" in self.counted or "unchanged" in self.counted


def decide(row: LeasedRow, outcome: Outcome, policy: Policy, jitter: Callable[[], float]) -> NextState:
    """The next state of a leased row."""
    after = _without_rerun(row, outcome, policy, jitter)
    if not row.rerun_requested:
        return after
    if isinstance(outcome, Published) and row.rerun_lane == "work" and row.event_etag == outcome.etag:
        # Every event, those since the lease too, named the content that was fetched: nothing is left to do for them.
        return replace(after, counted=(*after.counted, "superseded"))
    # The newer change takes the row over. A unit that had not ended by itself is superseded by it.
    return replace(
        after,
        state="pending",
        counted=after.counted or ("superseded",),
        lane=row.rerun_lane or "work",
        delay_seconds=0,
        attempts=0,
        faults=0,
        error=None,
        restart=True,
    )


def _without_rerun(row: LeasedRow, outcome: Outcome, policy: Policy, jitter: Callable[[], float]) -> NextState:
    """The next state if no event came during the lease."""
    match outcome:
        case Published() | SameContent():
            return _read(row, outcome, policy)
        case LeaseReleased():
            delay = policy.delay_seconds(row.attempts, jitter)
            return NextState("pending", (), row.lane, delay, max(0, row.attempts - 1), row.faults)
        case Present():
            # Where a worker has just been told the opposite, it is not sent back at once.
            delay = policy.delay_seconds(row.faults, jitter) if row.faults else 0
            return NextState("pending", (), "work", delay, faults=row.faults, seen=True)
        case NotFound():
            return _absent(row, policy, jitter)
        case Restoring():
            return NextState("pending", (), "check", policy.restore_seconds, faults=row.faults, error=BEING_RESTORED)
        case Failure():
            return _failed(row, outcome, policy, jitter)


def _read(row: LeasedRow, outcome: Published | SameContent, policy: Policy) -> NextState:
    """The next state after the content was read, and a result of it is published."""
    result = outcome if isinstance(outcome, Published) else outcome.result
    etag = result.etag if result else row.done_etag
    if _believed(row, etag, policy):
        name = "done" if isinstance(outcome, Published) else "unchanged"
        return NextState("done", (name,), result=result, seen=True)
    # Where it is a new result, its change ends here, and the second look is a change of the ledger's own.
    counted = ("done", "recheck") if isinstance(outcome, Published) else ()
    return NextState("pending", counted, delay_seconds=_until(row.event_age_seconds, policy), result=result, seen=True)


def _believed(row: LeasedRow, etag: str | None, policy: Policy) -> bool:
    """Whether content with this ETag is as new as what the events told of."""
    # With ``rerun_requested`` the object is looked at anew in any case.
    late = row.asked_after_seconds >= policy.replica_lag_seconds
    return row.rerun_requested or late or (etag is not None and etag == row.event_etag)


def _until(passed_seconds: float, policy: Policy) -> float:
    """Wait until so long after something was heard that no region can be behind it."""
    # A millisecond more, lest rounding make it a moment too early.
    return max(0.0, policy.replica_lag_seconds - passed_seconds) + 0.001


def _absent(row: LeasedRow, policy: Policy, jitter: Callable[[], float]) -> NextState:
    if row.lane == "work":
        # A worker's word: the control plane asks for itself, and counts from its own first 404.
        return _fault(row, CONFLICTING_ANSWERS, "check", 0, policy, jitter)
    delay = policy.delay_seconds(row.attempts, jitter)
    if row.attempts >= policy.absent_checks:
        if row.unseen_seconds >= policy.replica_lag_seconds:
            return NextState("gone", ("gone",), forget=True)
        delay = max(delay, _until(row.unseen_seconds, policy))
    return NextState("pending", (), "check", delay, row.attempts, row.faults)


def _failed(row: LeasedRow, failed: Failure, policy: Policy, jitter: Callable[[], float]) -> NextState:
    if failed.reason == "archived" and policy.restores:
        return _fault(row, failed, "check", 0, policy, jitter)
    if failed.retry and (row.lane == "check" or failed.reason in _STORE_FAULTS):
        return _fault(row, failed, row.lane, max(0, row.attempts - 1), policy, jitter)
    if failed.retry and row.attempts < policy.attempts:
        delay = policy.delay_seconds(row.attempts, jitter)
        return NextState("pending", (), row.lane, delay, row.attempts, row.faults, failed)
    return NextState("parked", (), row.lane, attempts=row.attempts, faults=row.faults, error=failed)


def _fault(
    row: LeasedRow, failed: Failure, lane: Lane, attempts: int, policy: Policy, jitter: Callable[[], float]
) -> NextState:
    """The next state after a fault that says nothing about the object: no attempt of its own is used up."""
    faults = row.faults + 1
    if faults >= policy.store_attempts:
        return NextState("parked", (), lane, attempts=attempts, faults=faults, error=failed)
    return NextState("pending", (), lane, policy.delay_seconds(faults, jitter), attempts, faults, failed)
