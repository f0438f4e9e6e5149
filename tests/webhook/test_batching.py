from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from webhook.batching import Batcher, Overloaded


def doubled(items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


class Recorder:
    """A flush that doubles its items, after it was released."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.error: BaseException | None = None
        self.answers: Callable[[Sequence[int]], list[int]] = doubled

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.answers(items)


async def settle_down() -> None:
    """Yield until every task that can run has run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_under_load_a_flush_waits_for_company() -> None:
    flush = Recorder()
    batcher = Batcher(flush, largest=10, backlog=100, linger_seconds=0.05)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in (1, 2)]
    await settle_down()
    tasks.append(asyncio.create_task(batcher.submit(3)))
    flush.gate.set()
    await settle_down()
    tasks.append(asyncio.create_task(batcher.submit(4)))
    await asyncio.gather(*tasks)
    assert flush.batches == [[1, 2], [3, 4]]


async def test_without_load_a_flush_waits_for_nobody() -> None:
    flush = Recorder()
    flush.gate.set()
    batcher = Batcher(flush, largest=10, backlog=100, linger_seconds=60)
    await asyncio.gather(batcher.submit(1), batcher.submit(2))
    assert await batcher.submit(3) == 6, "a flush after a quiet moment waits for no other item"
    first = [asyncio.create_task(batcher.submit(n)) for n in (4, 5)]
    await settle_down()
    assert flush.batches == [[1, 2], [3], [4, 5]]
    await asyncio.gather(*first)


async def test_a_full_flush_waits_for_nobody() -> None:
    flush = Recorder()
    batcher = Batcher(flush, largest=2, backlog=100, linger_seconds=60)
    all_of_them = [asyncio.create_task(batcher.submit(n)) for n in range(6)]
    await settle_down()
    flush.gate.set()
    await asyncio.gather(*all_of_them[:4])
    assert flush.batches[:2] == [[0, 1], [2, 3]]
    for task in all_of_them:
        task.cancel()


async def test_what_arrives_during_a_flush_goes_into_the_next_in_order() -> None:
    flush = Recorder()
    batcher = Batcher(flush, largest=10, backlog=100)
    first = asyncio.create_task(batcher.submit(1))
    await settle_down()
    rest = [asyncio.create_task(batcher.submit(n)) for n in range(2, 6)]
    await settle_down()
    assert flush.batches == [[1]]
    flush.gate.set()
    assert await asyncio.gather(first, *rest) == [2, 4, 6, 8, 10]
    assert flush.batches == [[1], [2, 3, 4, 5]]


async def test_a_flush_takes_no_more_than_the_largest_weight() -> None:
    flush = Recorder()
    flush.gate.set()
    batcher = Batcher(flush, largest=5, backlog=100, weigh=lambda item: item)
    assert await asyncio.gather(*(batcher.submit(n) for n in (2, 3, 1, 9, 1))) == [4, 6, 2, 18, 2]
    assert flush.batches == [[2, 3], [1], [9], [1]]


async def test_more_than_the_backlog_is_refused_and_what_waits_is_not_harmed() -> None:
    flush = Recorder()
    batcher = Batcher(flush, largest=1, backlog=3)
    flying = asyncio.create_task(batcher.submit(0))
    await settle_down()
    waiting = [asyncio.create_task(batcher.submit(n)) for n in (1, 2, 3)]
    await settle_down()
    with pytest.raises(Overloaded):
        await batcher.submit(4)
    flush.gate.set()
    assert await asyncio.gather(flying, *waiting) == [0, 2, 4, 6]
    assert await batcher.submit(5) == 10


async def test_one_item_above_the_backlog_is_taken_when_nothing_waits() -> None:
    flush = Recorder()
    flush.gate.set()
    assert await Batcher(flush, largest=5, backlog=5, weigh=lambda item: item).submit(50) == 100


async def test_a_failed_flush_fails_those_in_it_and_nobody_else() -> None:
    flush = Recorder()
    batcher = Batcher(flush, largest=2, backlog=100)
    doomed = [asyncio.create_task(batcher.submit(n)) for n in (1, 2)]
    await settle_down()
    later = asyncio.create_task(batcher.submit(3))
    flush.error = OSError("gone")
    flush.gate.set()
    for task in doomed:
        with pytest.raises(OSError, match="gone"):
            await task
    flush.error = None
    with pytest.raises(OSError, match="gone"):
        await later
    assert await batcher.submit(4) == 8


async def test_a_flush_that_loses_an_answer_fails_rather_than_hangs() -> None:
    flush = Recorder()
    flush.gate.set()
    flush.answers = lambda items: [0]
    batcher = Batcher(flush, largest=10, backlog=100)
    answers = await asyncio.gather(*(batcher.submit(n) for n in range(3)), return_exceptions=True)
    assert all(isinstance(answer, ValueError) for answer in answers)


async def test_who_gave_up_waiting_is_written_all_the_same() -> None:
    flush = Recorder()
    batcher = Batcher(flush, largest=10, backlog=100)
    flying = asyncio.create_task(batcher.submit(1))
    await settle_down()
    impatient = asyncio.create_task(batcher.submit(2))
    patient = asyncio.create_task(batcher.submit(3))
    await settle_down()
    impatient.cancel()
    flush.gate.set()
    assert [await flying, await patient] == [2, 6]
    assert flush.batches == [[1], [2, 3]]


async def test_closing_waits_for_all_that_was_submitted() -> None:
    flush = Recorder()
    batcher = Batcher(flush, largest=1, backlog=100)
    await batcher.aclose()
    tasks = [asyncio.create_task(batcher.submit(n)) for n in range(3)]
    await settle_down()
    closing = asyncio.create_task(batcher.aclose())
    await settle_down()
    assert not closing.done()
    flush.gate.set()
    await closing
    assert flush.batches == [[0], [1], [2]]
    assert await asyncio.gather(*tasks) == [0, 2, 4]
