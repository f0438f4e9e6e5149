"""Waiting for conditions: the first true value, the deadline, the pause and the error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.polling import until, wait_until


class Unmet(Exception):
    """The error of a caller."""


def counting(first_true: int) -> tuple[list[int], Callable[[], int]]:
    calls: list[int] = []

    def condition() -> int:
        calls.append(len(calls) + 1)
        return calls[-1] if len(calls) >= first_true else 0

    return calls, condition


async def test_the_first_true_value_is_returned() -> None:
    calls, condition = counting(3)
    assert await until(condition) == 3
    assert calls == [1, 2, 3]
    assert wait_until(condition) == 4


async def test_a_coroutine_function_is_awaited() -> None:
    async def condition() -> str:
        return "ready"

    assert await until(condition) == "ready"


async def test_a_condition_is_looked_at_once_more_after_the_deadline() -> None:
    calls, condition = counting(1)
    assert await until(condition, seconds=0) == 1
    assert calls == [1]


async def test_a_failure_is_told_by_the_error_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="did not become true within 0 s"):
        await until(lambda: False, seconds=0)
    with pytest.raises(Unmet, match="no worker"):
        await until(lambda: False, seconds=0, failure=lambda: "no worker", error=Unmet)
    with pytest.raises(Unmet, match="no worker"):
        wait_until(lambda: False, seconds=0, failure="no worker", error=Unmet)
