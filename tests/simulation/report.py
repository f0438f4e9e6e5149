"""Text reports: the trace of a failing history, and the sums over many histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace

from tests.simulation.history import HistoryChoice, HistoryResult, run
from tests.simulation.shrink import Shrinker

SUMMED = (
    "steps", "writes", "events", "leases", "handler runs", "kills", "stalls", "store faults", "database faults",
    "network faults", "lost answers", "dropped", "duplicate", "stale", "stale reads", "reaped", "settled late",
    "trials", "killed by a file", "charged", "clock set back", "sweeps",
    "sweeps done", "pauses", "redrives", "rebuilds", "virtual seconds",
)  # fmt: skip
"""Counts of a summary, in their order."""


def failure(
    choice: HistoryChoice, failed: HistoryResult, command: str, play: Callable[[HistoryChoice], HistoryResult] = run
) -> str:
    """The violation, the smallest history found that has it, and the command that replays it."""
    shrinker = Shrinker(play, choice, failed)
    smallest = shrinker.shrink()
    result = play(replace(smallest, tracing=True))
    kept = failed.settings.operations - len(smallest.operations)
    lines = [
        f"seed {choice.seed}: {failed.violation}",
        "",
        f"the world: {_world_line(result)}",
        f"after shrinking ({shrinker.runs} histories tried): {kept} operations, {len(result.fired)} faults",
        *(f"{at:10.3f} s  {line}" for at, line in result.trace),
        f"            {result.violation}",
        "",
        f"replay: {command}",
    ]
    return "\n".join(lines)


def summary(totals: Counter[str], histories: int, violations: int, seconds: float) -> str:
    """Sums over many histories."""
    lines = [f"{histories:>14,} histories in {seconds:,.0f} s ({histories / max(seconds, 0.001):.1f} a second)"]
    lines += [f"{totals[name]:>14,} {name}" for name in SUMMED]
    return "\n".join([*lines, f"{violations:>14,} violations"])


def _world_line(result: HistoryResult) -> str:
    settings = result.settings
    return ", ".join(
        f"{item.name.replace('_', ' ')} {_short(getattr(settings, item.name))}" for item in fields(settings)
    )


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return " ".join(value) if isinstance(value, tuple) else str(value)
