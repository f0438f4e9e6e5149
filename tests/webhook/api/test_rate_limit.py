"""GCRA against a token bucket that is computed exactly, and its memory."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.api.rate_limit import RateLimit


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TokenBucket:
    """The same limit, written the other way: tokens that flow in at the rate, up to the burst."""

    def __init__(self, per_second: int, burst: int) -> None:
        self._per_second, self._burst = per_second, burst
        self._tokens, self._at = Fraction(burst), Fraction(0)

    def allows(self, at: Fraction) -> bool:
        """Take one call in, if there is a token for it."""
        self._tokens = min(Fraction(self._burst), self._tokens + (at - self._at) * self._per_second)
        self._at = at
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@given(
    per_second=st.sampled_from([1, 2, 4, 8]),
    burst=st.integers(1, 5),
    pauses=st.lists(st.integers(0, 20), max_size=60),
)
def test_as_many_calls_pass_as_a_token_bucket_lets_through(per_second: int, burst: int, pauses: list[int]) -> None:
    clock = SetClock()
    limit, bucket, at = RateLimit(clock), TokenBucket(per_second, burst), Fraction(0)
    for pause in pauses:
        at += Fraction(pause, 16)
        clock.now = 1000.0 + float(at)
        assert (limit.wait_seconds("a", per_second, burst) == 0) == bucket.allows(at)


def test_a_refused_call_passes_after_the_wait_that_it_was_told() -> None:
    clock = SetClock()
    limit = RateLimit(clock)
    assert [limit.wait_seconds("a", 2, 3) for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]
    assert limit.wait_seconds("b", 2, 3) == 0, "another key has its own rate"
    clock.now += 0.49
    assert limit.wait_seconds("a", 2, 3) > 0
    clock.now += 0.02
    assert limit.wait_seconds("a", 2, 3) == 0


def test_silent_keys_are_forgotten_and_busy_ones_are_not() -> None:
    clock = SetClock()
    limit = RateLimit(clock)
    for number in range(10_000):
        limit.wait_seconds(number, 1, 1)
    clock.now += 0.5
    assert limit.wait_seconds("new", 1, 1) == 0
    assert limit.wait_seconds(9_999, 1, 1) == pytest.approx(0.5)
