"""Who may be in the handler together, and what is reported of it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from tests.polling import until
from workers.handler_gate import HandlerGate


class Visitor:
    """A lease that wants to enter, and leaves when told."""

    def __init__(self, entry: AbstractAsyncContextManager[None]) -> None:
        self.inside = False
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(entry))

    async def _visit(self, entry: AbstractAsyncContextManager[None]) -> None:
        async with entry:
            self.inside = True
            await self._leave.wait()
        self.inside = False

    async def leave(self) -> None:
        self._leave.set()
        await self.task


async def settle_down() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_trial_waits_for_those_inside_and_keeps_others_out_until_it_is_settled() -> None:
    gate = HandlerGate()
    one, two = Visitor(gate.beside_others(1)), Visitor(gate.beside_others(2))
    await until(lambda: one.inside and two.inside)
    assert (gate.report().tokens, gate.report().alone) == ([1, 2], False)
    trial = Visitor(gate.alone(3))
    later = Visitor(gate.beside_others(4))
    await settle_down()
    await one.leave()
    await settle_down()
    assert (trial.inside, later.inside) == (False, False)
    assert (gate.report().tokens, gate.report().alone) == ([2], False)  # what ends the worker now is not the trial
    await two.leave()
    await until(lambda: trial.inside)
    assert (gate.report().tokens, gate.report().alone) == ([3], True)
    await trial.leave()
    await settle_down()
    assert not later.inside
    assert (gate.report().tokens, gate.report().alone) == ([], True)  # it has outlived the handler
    gate.settled(3)
    await until(lambda: later.inside)
    assert (gate.report().tokens, gate.report().alone) == ([4], False)
    await later.leave()


async def test_trials_take_turns_with_the_others() -> None:
    gate = HandlerGate()
    first, between, second = Visitor(gate.alone(1)), Visitor(gate.beside_others(2)), Visitor(gate.alone(3))
    await until(lambda: first.inside)
    await first.leave()
    gate.settled(1)
    await until(lambda: between.inside)
    assert not second.inside
    await between.leave()
    await until(lambda: second.inside)
    await second.leave()
    gate.settled(3)


async def test_a_trial_that_is_cancelled_while_it_waits_lets_the_others_in_again() -> None:
    gate = HandlerGate()
    one = Visitor(gate.beside_others(1))
    trial = Visitor(gate.alone(2))
    later = Visitor(gate.beside_others(3))
    await settle_down()
    trial.task.cancel()
    await settle_down()
    assert not later.inside
    gate.settled(2)  # as the dispatcher calls it for every lease that ended without a settlement
    await until(lambda: later.inside)
    await one.leave()
    await later.leave()


async def test_a_settlement_of_another_lease_changes_nothing() -> None:
    gate = HandlerGate()
    trial, later = Visitor(gate.alone(1)), Visitor(gate.beside_others(2))
    await until(lambda: trial.inside)
    gate.settled(2)
    await settle_down()
    assert not later.inside
    await trial.leave()
    gate.settled(1)
    await until(lambda: later.inside)
    await later.leave()


async def test_a_later_report_has_a_higher_number_also_after_a_restart() -> None:
    gate = HandlerGate()
    numbers = [gate.report().number, gate.report().number, HandlerGate().report().number]
    assert numbers[0] < numbers[1]
    assert numbers[0] < numbers[2]
