"""The market notices a client that does not keep its calls apart, and no other."""

from __future__ import annotations

from infra.market.limits import RateLimits


def test_calls_that_are_kept_apart_are_taken() -> None:
    limits = RateLimits()
    assert not any(limits.too_fast("create", 4.5 * n) for n in range(20))
    assert not any(limits.too_fast("list", 1.0 * n) for n in range(20))


def test_one_call_that_was_late_on_its_way_is_forgiven_and_calls_that_come_together_are_not() -> None:
    limits = RateLimits()
    assert [limits.too_fast("create", at) for at in (4.4, 4.5, 9.0, 13.5)] == [False] * 4
    assert [limits.too_fast("destroy", at) for at in (0, 0.1, 0.2, 0.3, 9)] == [False, False, False, True, False]
    assert [RateLimits(0.01).too_fast("destroy", at) for at in (0, 1, 2, 3)] == [False] * 4
