"""State machine of a leased object: decides the next state for each settlement. Pure: no clock, no database.

An accepted change is one unit that is always somewhere: pending, leased, parked, or counted as done, unchanged,
superseded, gone or forgotten. A leased object holds one unit, and a second one when an event came during the lease
(``rerun_requested``).

Regions of one store lag behind each other, so an answer may be older than the event that caused the request. It is
believed where it confirms the events, or where it was requested so long after the last event that no region can lag
behind (``Policy.replica_lag_seconds``). Otherwise the ledger schedules a recheck for that time, which is a unit of its
own (``recheck``) where a result was published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Literal

from webhook.ledger.policy import Policy

ObjectState = Literal["pending", "done", "parked", "gone"]
ResultVerdict = Literal["ok", "review", "refused"]
"""What the checks of a result make of its object, from the best to the worst."""
Lane = Literal["work", "check", "trial"]
"""``work``: for workers. ``trial``: the same, alone on their worker. ``check``: HEAD requests of the control plane."""
InHandler = Literal["alone", "reported", "possible", "no"]
"""Whether a lost lease may have ended its worker, as far as that had reported: see the fragment ``in_handler``."""


@dataclass(frozen=True, slots=True)
class LeasedRow:
    """Row of an object whose lease is being settled."""

    id: int
    pipeline_id: int
    lane: Lane
    attempts: int
    """Leases that counted, this one among them: in ``work`` towards parking, in ``check`` the 404s in a row."""
    faults: int
    """Faults of the store since the last change."""
    losses: int
    """Weight of the leases since the last change that were lost with their worker: `_REPORTED` or `_POSSIBLE` each."""
    returns: int
    """Leases since the last change that ended without a result and were not counted: given back, or held too long."""
    worker_id: int | None
    """The lease's worker; None: the control plane."""
    given_up_by: int | None
    """Worker on whose word alone the object would have been parked since the last change."""
    rerun_requested: bool
    rerun_lane: Lane | None
    event_etag: str | None
    """The ETag that all events since the last result agree on, or None."""
    done_etag: str | None
    """ETag of the last result's input."""
    asked_after_seconds: float
    """From the last event to the lease: the answer cannot be older than that. Negative with ``rerun_requested``."""
    unseen_seconds: float
    """From the last event or read that showed the object to the lease."""
    event_age_seconds: float
    """From the last event to now."""


@dataclass(frozen=True, slots=True)
class Published:
    """Settlement ``done``: the content was processed and its outputs were published."""

    name: ClassVar[str] = "done"

    etag: str
    modified: datetime | None
    published: Mapping[str, str]
    """Output name to ETag."""
    by: int | None = None
    """Worker that reports it; None: unknown."""
    verdict: ResultVerdict | None = None
    """Of its checks; None: it has none."""


@dataclass(frozen=True, slots=True)
class SameContent:
    """Settlement ``unchanged``: the content is the one that the last result was made from."""

    name: ClassVar[str] = "unchanged"

    result: Published | None = None
    """The last result, where the worker read it from the manifest: the ledger may not have it."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """Settlement ``absent``: the store answered 404."""

    name: ClassVar[str] = "absent"


@dataclass(frozen=True, slots=True)
class Present:
    """The control plane's HEAD request found the object."""

    name: ClassVar[str] = "present"


@dataclass(frozen=True, slots=True)
class Failure:
    """Settlement ``failed``: the object could not be processed."""

    name: ClassVar[str] = "failed"

    reason: str
    message: str
    retry: bool
    log: str = ""


@dataclass(frozen=True, slots=True)
class LeaseReleased:
    """Settlement ``released``: the worker gives the lease back for a reason of its own, such as its shutdown."""

    name: ClassVar[str] = "released"

    without_handler: bool = False
    """The handler cannot run on the worker: its pipeline is paused there, and the object is not suspected."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The lease lasted as long as one may, however often it was renewed, and was taken back."""

    name: ClassVar[str] = "overdue"


@dataclass(frozen=True, slots=True)
class Restoring:
    """The object is archived, and the store is restoring it."""

    name: ClassVar[str] = "restoring"


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease's deadline passed, or its worker is gone."""

    name: ClassVar[str] = "lost"

    in_handler: InHandler


Outcome = Published | SameContent | NotFound | Present | Failure | LeaseReleased | Overdue | Restoring | Lost

LOST = Failure(
    "lost",
    "The worker stopped answering while it had this object. If that happens every time, the object may be what kills "
    "it: look at the worker's log, or give its handler less memory.",
    retry=True,
)
"""Failure of a lease whose deadline passed, or whose worker is gone."""

_POSSIBLE, _REPORTED = 1, 2
"""Weights of a loss while the object may have been in the handler, and while its worker had reported that it was."""
_SUSPECT = 2
"""Weight of losses from which an object is tried alone: one that was reported, or two that were possible."""
_MOST_LOSSES = 20
"""Weight from which a loss counts as an attempt without a trial: machines that end before any is made must end too."""

RETURNED = Failure(
    "returned",
    "Worker after worker gave this object back without a result. Look for it in the logs of the workers: what do they "
    "lack that it needs?",
    retry=True,
)
"""Failure of a lease that was given back once too often."""

OVERDUE = Failure(
    "overdue",
    "Workers held this object for as long as a lease may last and sent no result. If it is only slow to fetch, handle "
    "or publish, raise lease_spans of its pipeline.",
    retry=True,
)
"""Failure of a lease that lasted too long, once too often."""

MOST_RETURNS = 20
"""Uncounted ends of an object's leases since the last change: a further one counts as an attempt."""

CONFLICTING_ANSWERS = Failure(
    "replica-behind",
    "The store says both that this object is there and that it is not. Look at the bucket, and at the store's status "
    "page.",
    retry=True,
)
"""Failure of a lease that ended with a worker's 404: it stays when the control plane then finds the object."""

BEING_RESTORED = Failure(
    "archived", "The file is in an archive tier, and the store was asked to bring it back.", retry=True
)
"""Shown for an object that is being restored from its archive tier."""

_STORE_FAULTS = frozenset({"store", "replica-behind"})
"""Reasons that are faults of the store, not of the object: retried many more times before the object is parked."""


@dataclass(frozen=True, slots=True)
class NextState:
    """State of the row after the settlement, and the counters to increment."""

    state: ObjectState
    counted: tuple[str, ...]
    """Counter of each unit that ended with this settlement."""
    lane: Lane = "work"
    delay_seconds: float = 0
    attempts: int = 0
    faults: int = 0
    error: Failure | None = None
    result: Published | None = None
    restart: bool = False
    """A change that came during the lease replaces the one that was leased."""
    forget: bool = False
    """The object is gone: what the ledger knew of its contents and results is deleted."""
    seen: bool = False
    """The store showed that the object exists."""
    losses: int = 0
    """What is suspected: see ``LeasedRow.losses``."""
    returns: int = 0
    """See ``LeasedRow.returns``."""
    given_up_by: int | None = None
    """See ``LeasedRow.given_up_by``."""

    @property
    def finished(self) -> bool:
        """Whether the leased change ended with a result for the content that was fetched."""
        return "done" in self.counted or "unchanged" in self.counted


def decide(row: LeasedRow, outcome: Outcome, policy: Policy, jitter: Callable[[], float]) -> NextState:
    """Decide the next state of a leased row from the lease's outcome.

    Args:
        row: The row, locked by the caller's transaction.
        outcome: What the worker or the control plane reports.
        policy: Limits of the row's pipeline.
        jitter: Gives a random number from [0, 1).

    """
    after = _with_suspicion(row, outcome, _without_rerun(row, outcome, policy, jitter))
    after = _with_second_opinion(row, policy, _with_returns(row, outcome, after), jitter)
    if not row.rerun_requested:
        return after
    if isinstance(outcome, Published) and row.rerun_lane == "work" and row.event_etag == outcome.etag:
        # Every event, those during the lease too, named the content that was fetched: a rerun would find the same.
        return replace(after, counted=(*after.counted, "superseded"))
    # The newer change replaces the leased one, which counts as superseded where this settlement did not end it.
    # Attempts and errors were about the old change, so the new one starts without them, at once.
    return replace(
        after,
        state="pending",
        counted=after.counted or ("superseded",),
        lane=row.rerun_lane or "work",
        delay_seconds=0,
        attempts=0,
        faults=0,
        losses=0,
        returns=0,
        given_up_by=None,
        error=None,
        restart=True,
    )


def _without_rerun(  # noqa: PLR0911 - one return for each outcome
    row: LeasedRow, outcome: Outcome, policy: Policy, jitter: Callable[[], float]
) -> NextState:
    """Decide the next state as if no event had come during the lease."""
    match outcome:
        case Published() | SameContent():
            return _after_read(row, outcome, policy)
        case LeaseReleased(without_handler=False):
            return _returned(row, RETURNED, policy, jitter)
        case LeaseReleased():
            return _uncharged(row, policy.delay_seconds(row.attempts, jitter))
        case Overdue():
            return _returned(row, OVERDUE, policy, jitter)
        case Present():
            # After a worker's 404 a region may still lag: another worker would get the same answer at once.
            delay = policy.delay_seconds(row.faults, jitter) if row.faults else 0
            return NextState("pending", (), "work", delay, faults=row.faults, seen=True)
        case NotFound():
            return _absent(row, policy, jitter)
        case Restoring():
            return NextState("pending", (), "check", policy.restore_seconds, faults=row.faults, error=BEING_RESTORED)
        case Failure():
            return _failed(row, outcome, policy, jitter)
        case Lost():
            return _lost(row, outcome, policy, jitter)


def _with_suspicion(row: LeasedRow, outcome: Outcome, after: NextState) -> NextState:
    """Keep what is suspected of an object until a worker has outlived it."""
    match outcome:
        case Lost():
            return after
        case LeaseReleased() | Overdue():
            return replace(after, losses=row.losses)
        case Failure(reason=reason) if reason in _STORE_FAULTS:
            return replace(after, losses=row.losses)
        case _:
            return replace(after, lane="work") if after.lane == "trial" else after


def _with_returns(row: LeasedRow, outcome: Outcome, after: NextState) -> NextState:
    """Keep the count of uncounted ends until the change ends."""
    if after.state not in ("pending", "parked") or after.finished:
        return after
    returned = isinstance(outcome, Overdue) or (isinstance(outcome, LeaseReleased) and not outcome.without_handler)
    return replace(after, returns=row.returns + returned, given_up_by=row.given_up_by)


def _with_second_opinion(row: LeasedRow, policy: Policy, after: NextState, jitter: Callable[[], float]) -> NextState:
    """Have another worker try what would be parked on one worker's word alone."""
    alone = row.worker_id is not None and row.given_up_by is None
    if after.state != "parked" or not policy.second_opinion or not alone:
        return after
    delay = policy.delay_seconds(1, jitter)
    return replace(after, state="pending", delay_seconds=delay, given_up_by=row.worker_id)


def _returned(row: LeasedRow, why: Failure, policy: Policy, jitter: Callable[[], float]) -> NextState:
    """Decide the next state after a lease without a result that says nothing about the object, unless it happens again
    and again.
    """
    if row.returns >= MOST_RETURNS:
        return _failed(row, why, policy, jitter)
    return _uncharged(row, policy.delay_seconds(max(row.attempts, row.returns + 1), jitter))


def _uncharged(row: LeasedRow, delay_seconds: float) -> NextState:
    """The claim counted an attempt, but the object was not to blame: it gets that attempt back."""
    return NextState("pending", (), row.lane, delay_seconds, max(0, row.attempts - 1), row.faults)


def _lost(row: LeasedRow, lost: Lost, policy: Policy, jitter: Callable[[], float]) -> NextState:
    """Decide the next state after the worker was lost.

    Only an object that was on trial is charged with an attempt: it is what ended the worker, or the machine failed by
    itself, which does not happen at each attempt. Others that may have ended it are suspected, and tried alone once
    that has happened twice or the worker had reported them. What cannot have ended it is never charged.
    """
    if lost.in_handler == "no" and row.lane != "check":
        return replace(_uncharged(row, 0), losses=row.losses)
    if row.lane == "check" or lost.in_handler == "alone" or row.losses >= _MOST_LOSSES:
        return replace(_failed(row, LOST, policy, jitter), losses=row.losses)
    losses = row.losses + (_REPORTED if lost.in_handler == "reported" else _POSSIBLE)
    lane: Lane = "trial" if losses >= _SUSPECT else row.lane
    return replace(_uncharged(row, policy.delay_seconds(losses, jitter)), lane=lane, error=LOST, losses=losses)


def _after_read(row: LeasedRow, outcome: Published | SameContent, policy: Policy) -> NextState:
    """Decide the next state after a worker read the content and its result is published."""
    result = outcome if isinstance(outcome, Published) else outcome.result
    etag = result.etag if result else row.done_etag
    if _believed(row, etag, policy):
        name = "done" if isinstance(outcome, Published) else "unchanged"
        return NextState("done", (name,), result=result, seen=True)
    # A new result ends its change, so the recheck is a change of its own and is counted as one. Without a new result
    # the change itself goes on.
    counted = ("done", "recheck") if isinstance(outcome, Published) else ()
    return NextState(
        "pending", counted, delay_seconds=_lag_left_seconds(row.event_age_seconds, policy), result=result, seen=True
    )


def _believed(row: LeasedRow, etag: str | None, policy: Policy) -> bool:
    """Whether content with this ETag is proven to be at least as new as the events."""
    # With ``rerun_requested`` the object is read again in any case, so a recheck would repeat that.
    late = row.asked_after_seconds >= policy.replica_lag_seconds
    return row.rerun_requested or late or (etag is not None and etag == row.event_etag)


def _lag_left_seconds(passed_seconds: float, policy: Policy) -> float:
    """Seconds until no region can lag behind an event of so long ago."""
    # A millisecond more: with a rounded-down wait the next read would still be a moment too early to be believed.
    return max(0.0, policy.replica_lag_seconds - passed_seconds) + 0.001


def _absent(row: LeasedRow, policy: Policy, jitter: Callable[[], float]) -> NextState:
    """Decide the next state after a 404: another check, or gone once enough checks agree."""
    if row.lane != "check":
        # A worker's report alone must not lead to a deletion: the control plane sends HEAD requests of its own, and
        # counts from its own first 404.
        return _fault(row, CONFLICTING_ANSWERS, "check", 0, policy, jitter)
    delay = policy.delay_seconds(row.attempts, jitter)
    if row.attempts >= policy.absent_checks:
        if row.unseen_seconds >= policy.replica_lag_seconds:
            return NextState("gone", ("gone",), forget=True)
        # All checks may have reached a region that has not received the object yet.
        delay = max(delay, _lag_left_seconds(row.unseen_seconds, policy))
    return NextState("pending", (), "check", delay, row.attempts, row.faults)


def _failed(row: LeasedRow, failed: Failure, policy: Policy, jitter: Callable[[], float]) -> NextState:
    """Decide the next state after a failure: a retry, a check that restores the object, or parked."""
    if failed.reason == "archived" and policy.restores:
        return _fault(row, failed, "check", 0, policy, jitter)
    if failed.retry and (row.lane == "check" or failed.reason in _STORE_FAULTS):
        # Attempts count towards parking in ``work`` and are 404s in a row in ``check``; a fault is neither.
        return _fault(row, failed, row.lane, max(0, row.attempts - 1), policy, jitter)
    if failed.retry and row.attempts < policy.attempts:
        delay = policy.delay_seconds(row.attempts, jitter)
        return NextState("pending", (), row.lane, delay, row.attempts, row.faults, failed)
    return NextState("parked", (), row.lane, attempts=row.attempts, faults=row.faults, error=failed)


def _fault(
    row: LeasedRow, failed: Failure, lane: Lane, attempts: int, policy: Policy, jitter: Callable[[], float]
) -> NextState:
    """Decide the next state after a fault of the store: it uses up none of the object's attempts."""
    faults = row.faults + 1
    if faults >= policy.store_attempts:
        return NextState("parked", (), lane, attempts=attempts, faults=faults, error=failed)
    return NextState("pending", (), lane, policy.delay_seconds(faults, jitter), attempts, faults, failed)
