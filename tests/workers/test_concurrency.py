from __future__ import annotations

import asyncio

import pytest

from workers.concurrency import all_of, end, first_of


class Probe:
    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = False

    async def __call__(self) -> int:
        self.started.set()
        try:
            return await asyncio.Future()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def value(number: int) -> int:
    return number


async def fault(after: asyncio.Event | None = None) -> int:
    if after:
        await after.wait()
    raise KeyError


async def test_all_results_come_in_order() -> None:
    assert await all_of(value(number) for number in range(5)) == [0, 1, 2, 3, 4]
    assert await all_of([]) == []


async def test_one_error_ends_the_others_and_is_raised_itself() -> None:
    probe = Probe()
    with pytest.raises(KeyError):
        await all_of([probe(), fault(probe.started)])
    assert probe.cancelled


async def test_the_first_result_ends_the_others() -> None:
    probe = Probe()
    assert await first_of(probe(), value(3)) == 3
    assert probe.cancelled


async def test_an_error_beats_a_result_of_the_same_moment() -> None:
    with pytest.raises(KeyError):
        await first_of(value(3), fault())


@pytest.mark.parametrize("together", [all_of, lambda probes: first_of(*probes)])
async def test_cancelling_reaches_everything(together: object) -> None:
    probes = Probe(), Probe()
    task = asyncio.create_task(together([probe() for probe in probes]))  # type: ignore[operator]
    for probe in probes:
        await probe.started.wait()
    await end([task])
    assert task.cancelled()
    assert all(probe.cancelled for probe in probes)
