from __future__ import annotations

import asyncio
import contextlib
from typing import cast

import pytest

from tests.polling import until
from tests.webhook.plane import DEADLINE_SECONDS
from webhook.proxy.exchange import MachineLost, ServiceMachine
from webhook.proxy.queue import REFUSED_SECONDS, HeldMachine, NoMachine, QueueFull, ServiceQueue, Turn, WaitedTooLong
from webhook.service_settings import Service

WAY = cast("ServiceMachine", object())
"""Nothing is sent here."""


class Bench:
    """A queue, a clock that stands still, and how often more slots were asked for."""

    def __init__(self, **settings: object) -> None:
        self.now, self.woken = 0.0, 0
        service = Service.model_validate({"port": 1, **settings})
        self.queue = ServiceQueue("s", service, self._wake, clock=lambda: self.now)

    def _wake(self) -> None:
        self.woken += 1

    def machine(self, number: int, slots: int) -> HeldMachine:
        machine = HeldMachine(number, WAY, local=True, free=dict.fromkeys(range(slots), self.now))
        self.queue.machines[number] = machine
        self.queue.serve()
        return machine

    def ask(self) -> tuple[asyncio.Task[None], asyncio.Future[Turn], asyncio.Event]:
        """A request: the task, its turn once it has one, and what ends it."""
        got, end = asyncio.get_running_loop().create_future(), asyncio.Event()

        async def run() -> None:
            async with self.queue.turn() as turn:
                got.set_result(turn)
                await end.wait()

        return asyncio.create_task(run()), got, end


async def test_requests_are_served_in_their_order_by_the_least_loaded_machine() -> None:
    b = Bench()
    asked = [b.ask() for _ in range(5)]
    await until(lambda: b.queue.waiting == 5)
    assert b.woken == 1
    b.machine(1, 2)
    b.machine(2, 2)
    turns = [await got for _, got, _ in asked[:4]]
    assert [turn.machine.worker_id for turn in turns] == [1, 1, 2, 2]
    assert (b.queue.waiting, b.queue.in_flight) == (1, 4)
    asked[2][2].set()
    assert (await asked[4][1]).machine.worker_id == 2
    later = b.ask()
    for _, _, end in asked:
        end.set()
    await asyncio.gather(*(task for task, _, _ in asked))
    await later[1]
    one, two = b.ask(), b.ask()
    assert {(await got).machine.worker_id for _, got, _ in (one, two)} == {1, 2}
    for task, _, _ in (later, one, two):
        task.cancel()


async def test_a_request_that_is_sent_again_has_come_once() -> None:
    b = Bench()
    b.machine(1, 1)
    async with b.queue.turn():
        pass
    async with b.queue.turn(since=b.queue.now):
        pass
    assert b.queue.arrived == 1


async def test_a_request_that_leaves_at_the_moment_of_its_turn_keeps_no_slot() -> None:
    b = Bench()
    task, _, _ = b.ask()
    await until(lambda: b.queue.waiting == 1)
    machine = b.machine(1, 1)
    assert machine.busy == {0}, "it has its turn, but has not run since"
    task.cancel()
    await asyncio.wait({task})
    assert (machine.busy, list(machine.free), b.queue.load.in_flight) == (set(), [0], 0)


async def test_a_full_queue_a_late_machine_and_none() -> None:
    b = Bench(queue=1, wait_seconds=0.05)
    with pytest.raises(WaitedTooLong):
        async with b.queue.turn():
            pass
    task, _, _ = b.ask()
    await until(lambda: b.queue.waiting == 1)
    with pytest.raises(QueueFull):
        async with b.queue.turn():
            pass
    b.queue.refuse(NoMachine("why"))
    with pytest.raises(NoMachine, match="why"):
        await task


async def test_slots_go_back_once_unused_or_wanted_elsewhere() -> None:
    b = Bench()
    machine = b.machine(1, 3)
    task, _, end = b.ask()
    await until(lambda: b.queue.in_flight == 1)
    b.now = 2
    assert b.queue.releasable(3) == []
    b.queue.surrender = 1
    assert len(b.queue.releasable(3)) == 1
    b.now = 3
    assert len(b.queue.releasable(3)) == 1
    machine.draining = True
    end.set()
    await task
    assert [slot[2] for slot in b.queue.releasable(3)] == [0]
    assert b.queue.held == 0


async def test_a_machine_without_a_way_one_that_drains_and_one_that_is_not_ready_get_nothing() -> None:
    b = Bench()
    b.machine(1, 1)
    b.queue.lost_way(1)
    b.machine(2, 1).draining = True
    b.machine(4, 1).is_ready = False
    task, _, _ = b.ask()
    await until(lambda: b.queue.waiting == 1)
    assert {slot[0] for slot in b.queue.releasable(3)} == {1, 2, 4}, "their slots are of no use"
    b.machine(3, 1)
    await until(lambda: b.queue.in_flight == 1)
    task.cancel()


async def test_a_machine_that_refuses_a_request_gets_none_for_a_moment_and_the_request_is_the_next_one() -> None:
    b = Bench(queue=1, wait_seconds=30)
    machine = b.machine(1, 2)
    with contextlib.suppress(MachineLost):
        async with b.queue.turn():
            raise MachineLost("it leaves", unsent=True)
    later, got_later, _ = b.ask()
    await until(lambda: b.queue.waiting == 1)
    again = asyncio.create_task(b.queue.take((), since=b.now))  # though the queue is full
    await until(lambda: b.queue.waiting == 2)
    assert b.queue.shortage == 2, "slots of other machines are wanted"
    b.now += REFUSED_SECONDS
    del machine.free[1]
    b.queue.serve()
    assert (await again).machine.worker_id == 1
    assert not got_later.done()
    later.cancel()


async def test_a_request_that_was_refused_waits_for_what_is_left_of_its_time() -> None:
    b = Bench(wait_seconds=1_000)
    b.now = 999.95
    with pytest.raises(WaitedTooLong):
        async with asyncio.timeout(DEADLINE_SECONDS):
            await b.queue.take((), since=0.0)
