"""Probes of output locations: one for all who ask, and not ended by one who gives up."""

from __future__ import annotations

import asyncio

import pytest

from webhook.config import Place
from webhook.outputs.probing import PlaceProbes

PLACE = Place(bucket="photos-out", prefix="made/")


async def test_all_who_ask_share_one_probe_and_its_result_stays() -> None:
    began, go_on, asked = asyncio.Event(), asyncio.Event(), 0

    async def probe(_: Place) -> int:
        nonlocal asked
        asked += 1
        began.set()
        await go_on.wait()
        return asked

    probes = PlaceProbes(probe)
    first, second = (asyncio.create_task(probes.found(PLACE)) for _ in range(2))
    await began.wait()
    first.cancel()
    go_on.set()
    assert (await second, await probes.found(PLACE), probes.known(PLACE)) == (1, 1, 1)
    assert (await probes.again(PLACE), probes.known(PLACE)) == (2, 2)
    await probes.aclose()


async def test_a_probe_that_fails_is_no_result() -> None:
    async def probe(_: Place) -> int:
        raise ValueError("failed")

    probes = PlaceProbes(probe)
    for _ in range(2):
        with pytest.raises(ValueError, match="failed"):
            await probes.found(PLACE)
    assert probes.known(PLACE) is None


async def test_what_is_under_way_is_cancelled_at_the_end() -> None:
    began = asyncio.Event()

    async def probe(_: Place) -> int:
        began.set()
        await asyncio.Event().wait()
        return 1

    probes = PlaceProbes(probe)
    waiting = asyncio.create_task(probes.found(PLACE))
    await began.wait()
    await probes.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
