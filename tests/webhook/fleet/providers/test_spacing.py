"""Calls are kept apart, and callers sent away where too many wait."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.loop import VirtualLoop
from webhook.fleet.providers import ProviderBusy
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
    with pytest.raises(ProviderBusy, match="Fly takes a call each 10 s"):
        await spacing.wait()
