"""Waiting for a condition, with a deadline: the one polling loop of the tests.

A test never sleeps for a time in which something has probably happened. It waits until the condition is true, and fails
with a sentence when that does not happen before the deadline.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar, cast

Value = TypeVar("Value")

DEADLINE_SECONDS = 60.0
"""Far more than anything takes on a busy machine: it only ends a test that has already failed."""
PAUSE_SECONDS = 0.01


async def until(
    condition: Callable[[], Value | Awaitable[Value]],
    *,
    seconds: float = DEADLINE_SECONDS,
    failure: str | Callable[[], str] = "",
) -> Value:
    """Wait for the first true value of ``condition``, a function or coroutine function, and return it.

    Raises AssertionError with ``failure`` when there is none within ``seconds``.
    """
    for _ in _attempts(seconds, failure):
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return cast("Value", value)
        await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError


def wait_until(
    condition: Callable[[], Value], *, seconds: float = DEADLINE_SECONDS, failure: str | Callable[[], str] = ""
) -> Value:
    """``until`` for code without an event loop."""
    for _ in _attempts(seconds, failure):
        if value := condition():
            return value
        time.sleep(PAUSE_SECONDS)
    raise AssertionError


def _attempts(seconds: float, failure: str | Callable[[], str]) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
    yield  # once more: the process may have been stopped for longer than the deadline
    reason = failure() if callable(failure) else failure
    raise AssertionError(reason or f"the condition did not become true within {seconds:g} s")
