"""Runs the real sweeps of a simulated replica, and orders sweeps for a history."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.simulation.database import Engine, SimulatedDatabase
from tests.simulation.process import SimulatedProcess
from tests.simulation.world import World
from webhook.config import SweepSettings as Settings
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.ledger import Ledger
from webhook.ledger.sweeps import SweepOrder, Sweeps
from webhook.sweep.runner import Runner
from webhook.sweep.sweeper import Sweeper

if TYPE_CHECKING:
    from tests.simulation.plane import SimulatedPlane

_PAGE = 2


def runner_of(plane: SimulatedPlane, engine: Engine) -> tuple[Runner, Sweeps]:
    """Runner and statements of a replica's sweeps."""
    ledger = Ledger(SimulatedDatabase(plane.process, engine), {}, shard=0)
    sweeps = Sweeps(ledger)
    sweeper = Sweeper(sweeps, plane.store, plane.pipelines, plane.remover, page=_PAGE)
    return Runner(sweeps, sweeper, plane.pipelines, Settings()), sweeps


async def sweep(plane: SimulatedPlane, engine: Engine) -> None:
    """Run due sweeps until the process dies."""
    world = plane.process.world
    runner, sweeps = runner_of(plane, engine)
    while True:
        first = min((row.due_at for row in world.tables.sweeps.values() if _active(row.state)), default=None)
        if first is None or first > world.ledger_micros:
            await world.next_step(None if first is None else (first - world.ledger_micros) / 1e6 + 0.000001)
            continue
        with contextlib.suppress(LedgerUnavailable):
            for due in await sweeps.due(list(plane.pipelines.by_id), [], 1):
                await runner.run_sweep(due.id)


async def order(world: World, operator: SimulatedProcess, engine: Engine, kind: str) -> int:
    """Order a sweep. Returns its number."""
    world.counts["sweeps"] += 1
    ledger = Ledger(SimulatedDatabase(operator, engine), {}, shard=0)
    while True:
        with contextlib.suppress(LedgerUnavailable):
            wanted = await Sweeps(ledger).order(SweepOrder(1, kind, ""))  # type: ignore[arg-type]
            if world.tracing:
                world.note(f"a {kind} sweep is wanted")
            return wanted.id


async def wait_for_end(world: World, number: int) -> str:
    """Wait for the end of a sweep. Returns its last state."""
    while _active(world.tables.sweeps[number].state):
        await world.next_step(5.0)
    state: str = world.tables.sweeps[number].state
    if world.tracing:
        world.note(f"sweep {number} is {state}")
    return state


def _active(state: str) -> bool:
    return state in ("wanted", "running")
