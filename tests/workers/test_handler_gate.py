"""Which leases may be at work together, and what is reported of them."""

from __future__ import annotations

import asyncio

from tests.polling import until
from workers.handler_gate import HandlerGate


class WorkingLease:
    """A lease that wants to begin."""

    def __init__(self, gate: HandlerGate, token: int, *, trial: bool = False) -> None:
        self.begun = False
        self.task = asyncio.create_task(self._begin(gate, token, trial=trial))

    async def _begin(self, gate: HandlerGate, token: int, *, trial: bool) -> None:
        await gate.begin(token, trial=trial)
        self.begun = True


async def settle_down() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def reported(gate: HandlerGate, *settling: int) -> tuple[list[int], bool]:
    report = gate.report(settling)
    return report.tokens, report.alone


async def test_a_trial_waits_for_those_at_work_and_keeps_others_out_until_it_is_settled() -> None:
    gate = HandlerGate()
    one, two = WorkingLease(gate, 1), WorkingLease(gate, 2)
    await until(lambda: one.begun and two.begun)
    trial, later = WorkingLease(gate, 3, trial=True), WorkingLease(gate, 4)
    with gate.in_handler(1), gate.in_handler(2):
        assert reported(gate) == ([1, 2], False)
        gate.settled(1)
        await settle_down()
        assert (trial.begun, later.begun) == (False, False)
        assert not reported(gate)[1]  # what ends the worker now is not the trial
        gate.settled(2)
        await until(lambda: trial.begun)
    assert reported(gate) == ([3], True)
    with gate.in_handler(3):
        assert reported(gate) == ([3], True)
    await settle_down()
    assert not later.begun
    assert reported(gate) == ([3], True)  # a thread that the handler left behind may still end the worker
    gate.settled(3)
    await until(lambda: later.begun)
    with gate.in_handler(4):
        assert reported(gate) == ([4], False)


async def test_the_report_that_goes_out_with_the_settlement_of_a_trial_ends_it() -> None:
    gate = HandlerGate()
    await gate.begin(1, trial=True)
    assert reported(gate, 2) == ([1], True)
    assert reported(gate, 1) == ([], False)


async def test_trials_take_turns_with_the_others() -> None:
    gate = HandlerGate()
    first, between, second = (WorkingLease(gate, token, trial=token != 2) for token in (1, 2, 3))
    await until(lambda: first.begun)
    gate.settled(1)
    await until(lambda: between.begun)
    await settle_down()
    assert not second.begun
    gate.settled(2)
    await until(lambda: second.begun)
    gate.settled(3)


async def test_a_trial_that_is_cancelled_while_it_waits_lets_the_others_in_again() -> None:
    gate = HandlerGate()
    await gate.begin(1, trial=False)
    trial, later = WorkingLease(gate, 2, trial=True), WorkingLease(gate, 3)
    await settle_down()
    assert not later.begun
    trial.task.cancel()
    await until(lambda: later.begun)
    gate.settled(2)  # as the dispatcher says of every lease that has ended
    assert reported(gate) == ([], False)


async def test_a_settlement_of_another_lease_changes_nothing() -> None:
    gate = HandlerGate()
    trial, later = WorkingLease(gate, 1, trial=True), WorkingLease(gate, 2)
    await until(lambda: trial.begun)
    gate.settled(2)
    await settle_down()
    assert not later.begun
    gate.settled(1)
    await until(lambda: later.begun)


async def test_a_later_report_has_a_higher_number_also_after_a_restart() -> None:
    gate = HandlerGate()
    numbers = [gate.report().number, gate.report().number, HandlerGate().report().number]
    assert numbers[0] < numbers[1]
    assert numbers[0] < numbers[2]
