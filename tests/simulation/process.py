"""Simulated processes, which can die, stall and lose answers between any two of their external calls.

A process that dies never continues: no ``finally`` runs, as with SIGKILL. Requests that it sent may still take effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from tests.simulation.loop import current
from tests.simulation.world import BrokenInvariant, World

T = TypeVar("T")

OPERATOR = "person"
"""Name of the operator's process. Streams of decisions begin with it, so it stays as it is."""
_RESTART_SECONDS = (0.5, 6.0)
_STALL_SECONDS = (5.0, 100.0)
"""Often longer than a lease."""


_KILLS = 0.8
"""How often a killer's content ends its worker."""


async def meet_killer(process: SimulatedProcess, token: int, content: str, stage: str) -> None:
    """End a worker's process, if the content under work ends workers at this stage."""
    world = process.world
    killer = world.settings.killer == content and world.settings.killer_stage == stage
    if killer and process.alive and world.draws.fault(f"{process.name}/killer", _KILLS):
        world.counts["killed by a file"] += 1
        world.invariants.losses.kills(token)
        process.kill()
    if not process.alive:
        await process.never()


class SimulatedProcess:
    """A named process. Some time after its death it is restarted with empty memory."""

    def __init__(self, world: World, name: str, main: Callable[[SimulatedProcess], Awaitable[None]]) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.killable = name != OPERATOR
        self._main = main
        self.frozen_until = 0.0
        """Until when the process is stopped by SIGSTOP; in the past where it is not."""
        self._tasks: set[asyncio.Task[Any]] = set()
        world.processes.append(self)
        self.spawn(self._run())

    # lifecycle

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task in this process."""
        # The task copies the context now, so all that it starts belongs to this process.
        token = current.set(self)
        try:
            task = self.world.loop.create_task(work)
        finally:
            current.reset(token)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self) -> None:
        try:
            await self._main(self)
        except BrokenInvariant as violation:
            self.world.fail(violation)
        except Exception as error:
            self.world.fail(
                BrokenInvariant("no process ends by a fault", f"{self.name}: {type(error).__name__}: {error}")
            )
            if self.world.tracing:
                raise

    def kill(self) -> None:
        """Kill the process, as with SIGKILL."""
        world = self.world
        self.alive = False
        world.counts["kills"] += 1
        if world.tracing:
            world.note(f"{self.name} is killed")
        world.processes.remove(self)
        # Its tasks stay suspended for good. To cancel them would run their "finally" blocks, which SIGKILL does not.
        after = world.draws.between(f"{self.name}/restart", *_RESTART_SECONDS)
        world.loop.call_later(after, self._restart)

    def _restart(self) -> None:
        if self.world.tracing:
            self.world.note(f"{self.name} starts anew")
        SimulatedProcess(self.world, self.name, self._main)

    async def never(self) -> Any:
        """Wait forever: a dead process stops here."""
        await self.world.loop.create_future()

    # external calls

    async def step(self, effect: Callable[[], T]) -> T:
        """Make one external call. The process may die before it sends the request or before it gets the answer.

        Once sent, the request takes effect even if the process is dead by then.
        """
        await self.hop()
        answer = self.send(effect, self.transit())
        value = await answer
        await self.hop()
        return value

    def send(self, effect: Callable[[], T], seconds: float) -> asyncio.Future[T]:
        """Schedule an effect. Returns a future of its answer."""
        world = self.world
        answer: asyncio.Future[T] = world.loop.create_future()

        def arrive() -> None:
            try:
                value = effect()
            except BrokenInvariant as violation:
                world.fail(violation)
            except Exception as error:
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # marks it as retrieved: the process that waited for it may be dead
            else:
                if not answer.done():
                    answer.set_result(value)
            world.stepped()

        world.loop.call_later(seconds, arrive)
        return answer

    def transit(self) -> float:
        """Seconds that a request takes on the network."""
        return self.world.draws.between(f"{self.name}/transit", 0.001, 0.03)

    async def hop(self) -> None:
        """Pass the time of one way to a server or back, in which the process may die or stall."""
        draws, settings = self.world.draws, self.world.settings
        if not self.alive:
            await self.never()
        if self.killable and draws.fault(f"{self.name}/kill", settings.kill):
            self.kill()
            await self.never()
        seconds = draws.between(f"{self.name}/latency", 0.001, 0.04)
        if draws.fault(f"{self.name}/stall", settings.stall):
            held_up = draws.between(f"{self.name}/stall-seconds", *_STALL_SECONDS)
            if draws.chance(f"{self.name}/frozen", 0.6):  # SIGSTOP: all of it. Otherwise one slow request
                self.frozen_until = self.world.now + held_up
            await self.stall(seconds + held_up)
        else:
            await asyncio.sleep(seconds)
        if self.frozen_until > self.world.now:
            await self.stall(self.frozen_until - self.world.now)
        if not self.alive:
            await self.never()

    async def freeze(self) -> bool:
        """Stop the process (SIGSTOP) and continue it later. Returns whether the running task was cancelled meanwhile.

        A stopped process sees cancellations and timers only after the statement that it was about to execute.
        """
        world = self.world
        until = world.now + world.draws.between(f"{self.name}/frozen-seconds", *_STALL_SECONDS)
        self.frozen_until = max(self.frozen_until, until)
        cancelled = False
        while world.now < until:
            try:
                await self.stall(until - world.now)
            except asyncio.CancelledError:
                cancelled = True
        if not self.alive:
            await self.never()
        return cancelled

    async def stall(self, seconds: float) -> None:
        """Wait, counted as a stall."""
        world = self.world
        world.counts["stalls"] += 1
        if world.tracing:
            world.note(f"{self.name} stalls for {seconds:.0f} s")
        world.stalled += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            world.stalled -= 1

    async def wait(self, seconds: float) -> None:
        """Wait; the process may die afterwards."""
        await asyncio.sleep(seconds)
        await self.hop()
