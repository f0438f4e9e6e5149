"""The agent's signs of life: a byte while its event loop turns, and none of its children has the pipe."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.signs_of_life import SignsOfLife


def test_without_a_watchdog_there_are_none() -> None:
    assert SignsOfLife.take({}) is None
    assert SignsOfLife.take({"YURT_WATCHDOG": "x"}) is None


SCORE = Path("/proc/self/oom_score_adj")


@pytest.fixture(autouse=True)
def _score() -> Iterator[None]:
    """Taking a watchdog's pipe has the kernel end this very process first."""
    before = SCORE.read_text()
    yield
    SCORE.write_text(before)


async def test_an_event_loop_that_turns_gives_signs_of_life() -> None:
    watchdog, end = os.pipe()
    os.set_inheritable(end, True)
    environ = {"YURT_WATCHDOG": str(end)}
    life = SignsOfLife.take(environ)
    assert life is not None
    assert (environ, os.get_inheritable(end), SCORE.read_text()) == ({}, False, "500\n")

    assert await life.during(asyncio.to_thread(os.read, watchdog, 1)) == b"."
    os.close(watchdog)
    os.close(end)


async def test_a_watchdog_that_does_not_read_holds_up_nothing() -> None:
    watchdog, end = os.pipe()
    life = SignsOfLife.take({"YURT_WATCHDOG": str(end)})
    assert life is not None
    while True:
        try:
            os.write(end, b"." * 4096)
        except BlockingIOError:
            break

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await life.during(work()) == 7
    os.close(watchdog)
    os.close(end)
