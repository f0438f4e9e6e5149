"""A rented machine as its watchdog sees it: the agent ends, is killed or hangs, and the machine destroys itself.

Times are those of the real watchdog (`workers.watchdog.Patience`), whose own tests run it as a process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.watchdog import Patience

if TYPE_CHECKING:
    from tests.simulation.fleet.day import SimulatedDay
    from tests.simulation.fleet.market import RentedMachine, SimulatedMarket

PATIENCE = Patience()
HANGING_SECONDS = PATIENCE.silence_seconds + PATIENCE.dying_seconds
"""From a hanging agent's last sign of life to its end."""


@dataclass(frozen=True)
class SelfSlaying:
    """What machines do by themselves. A mutant leaves one of it out."""

    orphans_leave: bool = True
    """An agent that has lost its control plane ends."""
    destroys: bool = True
    """A machine whose agent has ended destroys itself, where its provider lets it."""
    kills_hanging: bool = True
    """An agent that hangs is killed."""


async def watch(
    day: SimulatedDay, market: SimulatedMarket, machine: RentedMachine, agent: Coroutine[Any, Any, None]
) -> None:
    """Run an agent until it ends in one way or another, and then destroy its machine."""
    await _run(day, machine, agent)
    machine.exited = True
    machine.lost_at = day.now if machine.lost_at is None else machine.lost_at
    if machine.self_destroys and day.slaying.destroys:
        await _slay(day, market, machine)


async def _run(day: SimulatedDay, machine: RentedMachine, agent: Coroutine[Any, Any, None]) -> None:
    running = day.loop.create_task(agent)
    killed, hangs = day.draws.fault("agent/killed", day.agent_fault), day.draws.fault("agent/hangs", day.agent_fault)
    fate = day.draws.between("agent/fate", 0, 3_600) if killed or hangs else None
    try:
        await asyncio.wait({running}, timeout=fate)
        if not running.done():
            day.counts["hanging" if hangs else "killed"] += 1
            if hangs:
                await _hang(day, machine, running)
    finally:
        running.cancel()


async def _hang(day: SimulatedDay, machine: RentedMachine, running: asyncio.Task[None]) -> None:
    machine.hangs, machine.lost_at = True, day.now
    running.cancel()
    await asyncio.sleep(HANGING_SECONDS)
    if not day.slaying.kills_hanging:
        await asyncio.Event().wait()


async def _slay(day: SimulatedDay, market: SimulatedMarket, machine: RentedMachine) -> None:
    pause = PATIENCE.first_pause_seconds
    while machine.ended is None:
        if market.agrees_to_end(machine):
            await asyncio.sleep(PATIENCE.confirm_seconds)
        else:
            await asyncio.sleep(pause)
            pause = min(2 * pause, PATIENCE.longest_pause_seconds)
    day.counts["slain themselves"] += 1
