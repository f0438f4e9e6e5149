from __future__ import annotations

from dataclasses import dataclass

import pytest

from webhook.fleet.breaker import Breaker


@dataclass
class ManualClock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> Breaker:
    return Breaker(3, 60.0, clock)


def fail(breaker: Breaker, times: int) -> list[bool]:
    return [breaker.failed() for _ in range(times)]


def test_it_is_closed_until_so_many_starts_in_a_row_have_failed(breaker: Breaker) -> None:
    assert breaker.allowance(20) > 100
    assert fail(breaker, 3) == [False, False, True]
    assert (breaker.state, breaker.allowance(0)) == ("open", 0)


def test_success_starts_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.succeeded()
    assert fail(breaker, 2) == [False, False]
    assert breaker.state == "closed"


def test_after_a_failure_no_more_start_than_would_open_it(breaker: Breaker) -> None:
    fail(breaker, 1)
    assert [breaker.allowance(starting) for starting in (0, 1, 2, 3)] == [2, 1, 0, 0]


def test_after_its_time_one_at_a_time_is_tried(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.now = 59.9
    assert breaker.allowance(0) == 0
    clock.now = 60.0
    assert breaker.state == "probing"
    assert [breaker.allowance(starting) for starting in (0, 1)] == [1, 0]


def test_a_probe_that_fails_opens_it_again_and_one_that_succeeds_closes_it(
    breaker: Breaker, clock: ManualClock
) -> None:
    fail(breaker, 3)
    clock.now = 60.0
    assert fail(breaker, 1) == [True]
    clock.now = 119.0
    assert breaker.state == "open"
    clock.now = 120.0
    breaker.succeeded()
    assert (breaker.state, breaker.failures) == ("closed", 0)


def test_a_failure_that_no_retry_mends_opens_it_at_once(breaker: Breaker) -> None:
    assert breaker.failed(final=True)
    assert breaker.failed()


def test_a_pause_is_no_failure(breaker: Breaker, clock: ManualClock) -> None:
    breaker.pause(30.0)
    breaker.pause(5.0)
    assert (breaker.state, breaker.allowance(0)) == ("closed", 0)
    clock.now = 30.0
    assert breaker.allowance(0) > 100


def test_the_pause_that_ends_last_says_why(breaker: Breaker, clock: ManualClock) -> None:
    assert breaker.why_paused == ""
    breaker.pause(30.0, "no room")
    breaker.pause(90.0, "used up")
    breaker.pause(5.0, "too many calls")
    clock.now = 89.0
    assert breaker.why_paused == "used up"
    clock.now = 90.0
    assert breaker.why_paused == ""
