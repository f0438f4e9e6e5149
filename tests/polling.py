"""Waiting for a condition, with a deadline: the one polling loop of the tests.

A test never sleeps for a time in which something has probably happened. It waits until the condition is true, and fails
with a sentence when that does not happen before the deadline.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar, overload

Value = TypeVar("Value")

DEADLINE_SECONDS = 60.0
"""Far more than anything takes on a busy machine: it only ends a test that has already failed."""
PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.1


@overload
async def until(
    condition: Callable[[], Awaitable[Value]],
    *,
    seconds: float = ...,
    failure: str | Callable[[], str] = ...,
    pause_seconds: float = ...,
    error: Callable[[str], Exception] = ...,
) -> Value: ...


@overload
async def until(
    condition: Callable[[], Value],
    *,
    seconds: float = ...,
    failure: str | Callable[[], str] = ...,
    pause_seconds: float = ...,
    error: Callable[[str], Exception] = ...,
) -> Value: ...


async def until(
    condition: Callable[[], Any],
    *,
    seconds: float = DEADLINE_SECONDS,
    failure: str | Callable[[], str] = "",
    pause_seconds: float = PAUSE_SECONDS,
    error: Callable[[str], Exception] = AssertionError,
) -> Any:
    """Wait for the first true value of ``condition``, a function or coroutine function, and return it.

    ``pause_seconds`` lie between two calls of it; a condition that asks a server asks less often. Raises
    ``error(failure)`` when there is no true value within ``seconds``.
    """
    for waited_seconds in _attempts(seconds, failure, error):
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(_pause_seconds(pause_seconds, waited_seconds))
    raise AssertionError


def wait_until(
    condition: Callable[[], Value],
    *,
    seconds: float = DEADLINE_SECONDS,
    failure: str | Callable[[], str] = "",
    pause_seconds: float = PAUSE_SECONDS,
    error: Callable[[str], Exception] = AssertionError,
) -> Value:
    """``until`` for code without an event loop."""
    for waited_seconds in _attempts(seconds, failure, error):
        if value := condition():
            return value
        time.sleep(_pause_seconds(pause_seconds, waited_seconds))
    raise AssertionError


def _pause_seconds(least: float, waited_seconds: float) -> float:
    """The longer something takes, the less often it is asked: asking costs the processor that it needs itself."""
    return max(least, min(waited_seconds / 20, _LONGEST_PAUSE_SECONDS))


def _attempts(seconds: float, failure: str | Callable[[], str], error: Callable[[str], Exception]) -> Iterator[float]:
    """Yield the seconds that were waited so far, until the deadline."""
    began = time.monotonic()
    while (waited_seconds := time.monotonic() - began) < seconds:
        yield waited_seconds
    yield waited_seconds  # once more: the process may have been stopped for longer than the deadline
    reason = failure() if callable(failure) else failure
    raise error(reason or f"the condition did not become true within {seconds:g} s")
