"""A limit of time that is moved on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from webhook.proxy.deadline import Deadline


async def waits(seconds: float, begun: Callable[[Deadline], Awaitable[None] | None]) -> None:
    """Wait for ever, within a limit that ``begun`` changes."""
    with Deadline(seconds) as deadline:
        if (changed := begun(deadline)) is not None:
            await changed
        await asyncio.get_running_loop().create_future()


async def test_a_task_is_ended_when_its_time_is_up() -> None:
    with pytest.raises(TimeoutError), Deadline(0.01):
        await asyncio.get_running_loop().create_future()
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_limit_that_is_moved_on_ends_later_and_one_that_is_moved_back_earlier() -> None:
    moved = []
    with Deadline(0.02) as deadline:
        for _ in range(5):
            await asyncio.sleep(0.01)  # together longer than the limit
            deadline.move(5)
            moved.append(True)
    assert len(moved) == 5
    with pytest.raises(TimeoutError):
        await waits(600, lambda deadline: deadline.move(0.01))


async def test_a_pause_lasts_until_the_limit_is_moved() -> None:
    async def paused(deadline: Deadline) -> None:
        deadline.pause()
        await asyncio.sleep(0.03)
        deadline.move(0.01)

    with pytest.raises(TimeoutError):
        await waits(0.01, paused)


async def test_a_cancellation_by_others_stays_one() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        with Deadline(600):
            begun.set()
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_it_does_not_end_what_comes_after_it() -> None:
    with Deadline(0.01):
        pass
    await asyncio.sleep(0.03)
