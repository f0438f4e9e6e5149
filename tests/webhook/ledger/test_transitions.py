from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.ledger.ledger_bench import BROKEN, HOPELESS, POLICY, STORE_DOWN, done
from webhook.ledger.transitions import (
    InHandler,
    LeasedRow,
    LeaseReleased,
    Lost,
    NextState,
    NotFound,
    Outcome,
    Policy,
    Present,
    SameContent,
    decide,
)

LOSSES = [Lost("alone"), Lost("reported"), Lost("possible"), Lost("no")]
outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        done("v1"),
        done("v2"),
        SameContent(),
        NotFound(),
        Present(),
        LeaseReleased(),
        *LOSSES,
        BROKEN,
        HOPELESS,
        STORE_DOWN,
    ]
)
rows = st.builds(
    LeasedRow,
    id=st.just(1),
    pipeline_id=st.just(1),
    lane=st.sampled_from(["work", "check", "trial"]),
    attempts=st.integers(1, 8),
    faults=st.integers(0, 8),
    losses=st.integers(0, 25),
    rerun_requested=st.booleans(),
    rerun_lane=st.sampled_from(["work", "check"]),
    event_etag=st.sampled_from([None, "v1", "v2"]),
    done_etag=st.sampled_from([None, "v1"]),
    asked_after_seconds=st.sampled_from([-1.0, 0.0, 40.0]),
    unseen_seconds=st.sampled_from([0.0, 40.0]),
    event_age_seconds=st.just(50.0),
)
LEASED = LeasedRow(
    1, 1, "work", 1, 0, 0, rerun_requested=False, rerun_lane=None, event_etag="v1", done_etag=None,
    asked_after_seconds=0.0, unseen_seconds=0.0, event_age_seconds=1.0,
)  # fmt: skip


def after(outcome: Outcome, jitter: float = 1.0, **changed: object) -> NextState:
    return decide(dataclasses.replace(LEASED, **changed), outcome, POLICY, lambda: jitter)  # type: ignore[arg-type]


@given(rows, outcomes)
def test_every_unit_ends_or_is_still_there(row: LeasedRow, outcome: Outcome) -> None:
    then = decide(row, outcome, POLICY, lambda: 0.5)
    held = 1 + row.rerun_requested + then.counted.count("recheck")
    assert held == len([name for name in then.counted if name != "recheck"]) + (then.state in ("pending", "parked"))


@given(rows, outcomes)
def test_whoever_parks_says_why_and_nobody_else_keeps_an_error_for_good(row: LeasedRow, outcome: Outcome) -> None:
    then = decide(row, outcome, POLICY, lambda: 0.5)
    if then.state == "parked":
        assert then.error is not None
    if then.state in ("done", "gone"):
        assert then.error is None


@given(rows, outcomes)
def test_a_newer_event_is_never_parked_nor_made_to_wait(row: LeasedRow, outcome: Outcome) -> None:
    then = decide(dataclasses.replace(row, rerun_requested=True), outcome, POLICY, lambda: 0.5)
    if then.state != "done":
        assert (then.state, then.lane, then.delay_seconds) == ("pending", row.rerun_lane, 0)
        assert (then.attempts, then.faults, then.restart) == (0, 0, True)


@given(rows, outcomes)
def test_only_the_control_planes_own_checks_end_an_object(row: LeasedRow, outcome: Outcome) -> None:
    then = decide(row, outcome, POLICY, lambda: 0.5)
    if then.forget:
        assert row.lane == "check"
        assert row.attempts >= POLICY.absent_checks
        assert isinstance(outcome, NotFound)
    assert (then.state == "gone") <= then.forget


@given(st.integers(1, 40), st.floats(0, 1, exclude_max=True))
def test_the_wait_doubles_up_to_its_limit_with_at_most_half_taken_off(attempts: int, jitter: float) -> None:
    whole = min(POLICY.backoff_limit_seconds, POLICY.backoff_seconds * 2 ** (attempts - 1))
    assert whole / 2 <= POLICY.delay_seconds(attempts, lambda: jitter) <= whole


def test_the_wait_is_finite_after_any_number_of_attempts() -> None:
    policy = Policy(9_999, 9_999, 3, backoff_seconds=1e6, backoff_limit_seconds=1e9)
    assert policy.delay_seconds(32_000, lambda: 1.0) == 1e9


@pytest.mark.parametrize(
    ("outcome", "rerun_lane", "heard", "state", "counted"),
    [
        (done("v2"), "work", "v2", "done", ("done", "superseded")),
        (done("v1"), "work", "v2", "pending", ("done",)),
        (done("v1"), "work", None, "pending", ("done",)),
        (done("v1"), "check", None, "pending", ("done",)),
        (SameContent(), "work", "v2", "pending", ("unchanged",)),
        (HOPELESS, "work", "v2", "pending", ("superseded",)),
        (BROKEN, "work", "v2", "pending", ("superseded",)),
        (LeaseReleased(), "work", "v2", "pending", ("superseded",)),
        (NotFound(), "work", "v2", "pending", ("superseded",)),
    ],
)
def test_an_event_during_the_lease(
    outcome: Outcome, rerun_lane: str, heard: str | None, state: str, counted: tuple[str, ...]
) -> None:
    then = after(outcome, rerun_requested=True, rerun_lane=rerun_lane, event_etag=heard)
    assert (then.state, then.counted) == (state, counted)
    assert then.result == (outcome if "done" in counted else None)


def test_an_etag_heard_before_the_lease_covers_nothing() -> None:
    assert after(done("v1"), rerun_requested=False, event_etag="v1").counted == ("done",)


def test_attempts_of_its_own_park_it_with_the_last_error() -> None:
    assert [after(BROKEN, attempts=n).state for n in (1, 2, 3)] == ["pending", "pending", "parked"]
    assert after(BROKEN, attempts=3).error is BROKEN
    assert after(HOPELESS, attempts=1).state == "parked"
    assert after(Lost("alone"), lane="trial", attempts=3).state == "parked"


def test_the_stores_faults_are_counted_by_themselves() -> None:
    then = after(STORE_DOWN, attempts=3, faults=4)
    assert (then.state, then.attempts, then.faults) == ("pending", 2, 5)
    assert then.delay_seconds == POLICY.delay_seconds(5, lambda: 1.0)
    assert after(STORE_DOWN, attempts=1, faults=5).state == "parked"


def test_a_worker_that_gives_back_uses_up_no_attempt() -> None:
    then = after(LeaseReleased(), attempts=3, faults=2)
    assert (then.state, then.lane, then.attempts, then.faults) == ("pending", "work", 2, 2)


def test_a_workers_404_is_asked_after_and_never_believed() -> None:
    then = after(NotFound(), attempts=3, faults=0)
    assert (then.state, then.lane, then.attempts, then.faults) == ("pending", "check", 0, 1)
    assert then.delay_seconds == 10


def test_a_store_that_contradicts_itself_for_ever_parks_the_object() -> None:
    row = LEASED
    for _ in range(POLICY.store_attempts):
        then = decide(row, NotFound(), POLICY, lambda: 1.0)
        if then.state == "parked":
            assert then.error is not None
            assert then.error.reason == "replica-behind"
            return
        checked = dataclasses.replace(row, lane="check", attempts=then.attempts + 1, faults=then.faults)
        then = decide(checked, Present(), POLICY, lambda: 1.0)
        assert (then.state, then.lane) == ("pending", "work")
        assert then.delay_seconds >= 10
        row = dataclasses.replace(row, attempts=then.attempts + 1, faults=then.faults)
    raise AssertionError("never parked")


def test_absence_is_believed_after_so_many_404s_in_a_row() -> None:
    first = after(NotFound(), lane="check", attempts=1)
    assert (first.state, first.lane, first.attempts, first.delay_seconds) == ("pending", "check", 1, 10)
    assert after(NotFound(), lane="check", attempts=2) == NextState("gone", ("gone",), forget=True)


@pytest.mark.parametrize("fault", [STORE_DOWN, Lost("possible")])
def test_a_check_that_got_no_answer_is_no_404(fault: Outcome) -> None:
    then = after(fault, lane="check", attempts=2)
    assert (then.state, then.lane, then.attempts, then.faults) == ("pending", "check", 1, 1)


def test_what_is_there_after_all_is_worked_at_once() -> None:
    assert after(Present(), lane="check", attempts=2) == NextState("pending", (), seen=True)


# a worker that was lost


@pytest.mark.parametrize("losses", [1, 20, 1_000])
def test_what_cannot_have_ended_its_worker_costs_nothing(losses: int) -> None:
    then = after(Lost("no"), attempts=POLICY.attempts, losses=losses)
    assert (then.state, then.lane, then.delay_seconds, then.attempts) == ("pending", "work", 0, POLICY.attempts - 1)
    assert (then.losses, then.error) == (losses, None)


@pytest.mark.parametrize(
    ("in_handler", "losses", "lane"),
    [("reported", 0, "trial"), ("possible", 0, "work"), ("possible", 1, "trial")],
)
def test_what_may_have_ended_its_worker_is_tried_alone_and_not_charged(
    in_handler: InHandler, losses: int, lane: str
) -> None:
    then = after(Lost(in_handler), attempts=3, losses=losses)
    assert (then.state, then.lane, then.attempts) == ("pending", lane, 2)
    assert then.losses > losses
    assert then.delay_seconds > 0


def test_only_what_was_on_trial_is_charged_and_parked() -> None:
    first = after(Lost("alone"), lane="trial", attempts=1, losses=2)
    assert (first.state, first.lane, first.attempts, first.losses) == ("pending", "trial", 1, 2)
    last = after(Lost("alone"), lane="trial", attempts=POLICY.attempts, losses=2)
    assert (last.state, last.lane, last.error and last.error.reason) == ("parked", "trial", "lost")
    beside = after(Lost("possible"), lane="trial", attempts=POLICY.attempts, losses=2)
    assert (beside.state, beside.lane) == ("pending", "trial")


def test_machines_that_end_before_any_trial_end_too() -> None:
    row, leases = LEASED, 0
    while (then := decide(row, Lost("possible"), POLICY, lambda: 1.0)).state == "pending":
        row = dataclasses.replace(row, attempts=then.attempts + 1, losses=then.losses, lane=then.lane)
        leases += 1
        assert leases < 40
    assert then.state == "parked"


@pytest.mark.parametrize("outcome", [done("v1"), SameContent(), BROKEN, NotFound()])
def test_a_worker_that_outlives_a_trial_ends_the_suspicion(outcome: Outcome) -> None:
    then = after(outcome, lane="trial", losses=3)
    assert (then.lane != "trial", then.losses) == (True, 0)


@pytest.mark.parametrize("outcome", [LeaseReleased(), STORE_DOWN])
def test_a_trial_that_did_not_reach_the_handler_is_still_to_be_made(outcome: Outcome) -> None:
    then = after(outcome, lane="trial", losses=3)
    assert (then.state, then.lane, then.losses) == ("pending", "trial", 3)
