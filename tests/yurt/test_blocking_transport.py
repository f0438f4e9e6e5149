"""Coroutines that run to their end by one step, and work in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from yurt.blocking_transport import BlockingTransport, iterate_blocking, run_blocking
from yurt.transport import Job


def test_a_coroutine_that_would_suspend_is_a_mistake() -> None:
    async def suspends() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="has awaited something else"):
        run_blocking(suspends())


def test_an_iteration_that_is_left_is_closed() -> None:
    closed = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            closed.append(True)

    assert list(iterate_blocking(numbers())) == list(range(10))
    source = numbers()  # held here, so that no garbage collection closes it
    items = iterate_blocking(source)
    assert next(items) == 0
    items.close()
    assert closed == [True, True]


def test_jobs_are_done_side_by_side() -> None:
    met, done = threading.Barrier(3), []

    async def meet(number: int) -> None:
        met.wait(30)  # breaks unless three are at work at once
        done.append(number)

    def job(number: int) -> Job:
        return lambda: meet(number)

    run_blocking(BlockingTransport().side_by_side((job(number) for number in range(6)), 3))
    assert sorted(done) == list(range(6))


def test_after_the_first_error_no_job_begins() -> None:
    begun = []

    async def fail(number: int) -> None:
        begun.append(number)
        raise ValueError(f"number {number}")

    def job(number: int) -> Job:
        return lambda: fail(number)

    with pytest.raises(ValueError, match="number"):
        run_blocking(BlockingTransport().side_by_side((job(number) for number in range(1_000)), 2))
    assert len(begun) <= 2, "each thread ends with its first error"
