"""Work of several tasks on one event loop."""

from __future__ import annotations

import asyncio

import pytest

from yurt.async_transport import AsyncTransport
from yurt.transport import Job


async def test_jobs_are_done_side_by_side() -> None:
    met, done = asyncio.Barrier(3), []

    async def meet(number: int) -> None:
        async with asyncio.timeout(30):
            await met.wait()  # for ever, unless three are at work at once
        done.append(number)

    def job(number: int) -> Job:
        return lambda: meet(number)

    await AsyncTransport().side_by_side((job(number) for number in range(6)), 3)
    assert sorted(done) == list(range(6))


async def test_an_error_ends_all_jobs_before_it_is_raised() -> None:
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def fail() -> None:
        raise ValueError("the first")

    jobs: list[Job] = [wait, fail, wait]
    with pytest.raises(ValueError, match="the first"):
        await AsyncTransport().side_by_side(jobs, 2)
    assert ended == ["cancelled"]
