"""The virtual loop and the draws."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.simulation.draws import Draws
from tests.simulation.loop import Stuck, VirtualLoop


def test_time_passes_at_once() -> None:
    loop = VirtualLoop()
    began = time.monotonic()
    loop.run_until_complete(asyncio.wait_for(asyncio.sleep(100_000), 200_000))
    assert loop.time() == pytest.approx(100_000)
    assert time.monotonic() - began < 1_000
    loop.close()


def test_timers_fire_in_their_order() -> None:
    loop = VirtualLoop()
    fired: list[float] = []
    for seconds in (3.0, 1.0, 2.0):
        loop.call_later(seconds, fired.append, seconds)
    loop.run_until_complete(asyncio.sleep(5))
    assert fired == [1.0, 2.0, 3.0]
    loop.close()


def test_a_world_in_which_nothing_will_happen_is_stuck() -> None:
    loop = VirtualLoop()
    forever = loop.create_future()
    with pytest.raises(Stuck):
        loop.run_until_complete(forever)
    loop.close()


def test_a_decision_depends_on_its_stream_and_number_alone() -> None:
    first, second = Draws(5), Draws(5)
    first.unit("other")
    assert [first.unit("a"), first.unit("a")] == [second.unit("a"), second.unit("a")]
    assert Draws(5).unit("a") != Draws(6).unit("a")


def test_a_fault_can_be_left_out_alone() -> None:
    whole = Draws(1)
    happened = [whole.fault("f", 0.5) for _ in range(20)]
    assert any(happened)
    part = Draws(1, [whole.fired[0]])
    again = [part.fault("f", 0.5) for _ in range(20)]
    assert sum(again) == sum(happened) - 1
    assert part.fired == whole.fired[1:]


def test_no_fault_happens_in_the_calm() -> None:
    draws = Draws(1)
    draws.faults_over = True
    assert not any(draws.fault("f", 1.0) for _ in range(10))
