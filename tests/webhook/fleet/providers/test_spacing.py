"""Calls are kept apart, and callers sent away where too many wait."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.loop import VirtualLoop
from webhook.fleet.providers import NotSent
from webhook.fleet.providers.spacing import Spacing


def test_calls_that_come_together_go_one_after_the_other() -> None:
    loop, spacing = VirtualLoop(), Spacing("Fly", 5)
    went: list[float] = []

    async def call() -> None:
        await spacing.wait()
        went.append(loop.time())

    async def calls() -> None:
        await asyncio.gather(*(call() for _ in range(4)))

    loop.run_until_complete(calls())
    loop.close()
    assert went == [0, 5, 10, 15]


async def test_a_caller_that_would_wait_for_too_long_is_sent_away() -> None:
    spacing = Spacing("Fly", 10, longest_seconds=5)
    await spacing.wait()
    with pytest.raises(NotSent, match="Fly takes a call each 10 s"):
        await spacing.wait()


def test_a_caller_that_gives_up_costs_the_others_no_turn() -> None:
    loop, spacing = VirtualLoop(), Spacing("Fly", 5)
    went: list[float] = []

    async def calls() -> None:
        await spacing.wait()
        others = [asyncio.ensure_future(spacing.wait()) for _ in range(3)]
        for other in others:
            other.add_done_callback(lambda _: went.append(loop.time()))
        others[0].cancel()  # its turn is the next one's
        await asyncio.wait(others)

    loop.run_until_complete(calls())
    loop.close()
    assert went == [0, 5, 10]


async def test_calls_that_are_held_back_are_sent_away_with_the_reason() -> None:
    spacing = Spacing("Fly", 0)
    spacing.hold(60, "the day's calls are used up")
    spacing.hold(1, "the day's calls are used up")
    with pytest.raises(NotSent, match="the day's calls are used up") as caught:
        await spacing.wait()
    assert 59 < caught.value.retry_seconds <= 60
