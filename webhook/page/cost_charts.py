"""Adds costs up, and lays out the chart of costs by day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from webhook.api.costs import Cost, Costs
from webhook.cost_phases import PHASES, Phase

WIDTH = 720
HEIGHT = 200
_GAP_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class CostBar:
    """One phase of one day, as a rectangle of the chart."""

    phase: Phase
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class CostChart:
    """Bars of all days, and the height of the scale."""

    bars: list[CostBar]
    days: int
    most_usd: Decimal
    """What a bar of full height stands for; 0: nothing was spent."""


def cost_chart(costs: Costs) -> CostChart:
    """Lay out one bar a day, of its phases above each other."""
    by_day: dict[date, dict[Phase, Decimal]] = {}
    for cost in costs.costs:
        phases = by_day.setdefault(cost.day, {})
        phases[cost.phase] = phases.get(cost.phase, Decimal(0)) + cost.usd
    most = max((sum(phases.values(), start=Decimal(0)) for phases in by_day.values()), default=Decimal(0))
    days = (costs.until - costs.since).days + 1
    bars = [
        bar
        for position in range(days)
        for bar in _bars(costs.since + timedelta(days=position), by_day, position * WIDTH / days, WIDTH / days, most)
    ]
    return CostChart(bars, days, most)


def _bars(day: date, by_day: dict[date, dict[Phase, Decimal]], x: float, width: float, most: Decimal) -> list[CostBar]:
    bars, y = [], float(HEIGHT)
    for phase in PHASES:
        usd = by_day.get(day, {}).get(phase, Decimal(0))
        if usd <= 0:
            continue
        height = float(usd / most) * HEIGHT
        y -= height
        title = f"{day}: ${usd:.4f} {phase}"
        bars.append(CostBar(phase, round(x + width * _GAP_SHARE / 2, 2), round(y, 2),
                            round(width * (1 - _GAP_SHARE), 2), round(height, 2), title))  # fmt: skip
    return bars


def totals(costs: Costs, group: Callable[[Cost], str]) -> list[tuple[str, Decimal]]:
    """Add costs up by a group's name, the most expensive first."""
    sums: dict[str, Decimal] = {}
    for cost in costs.costs:
        sums[group(cost)] = sums.get(group(cost), Decimal(0)) + cost.usd
    return sorted(sums.items(), key=lambda item: (-item[1], item[0]))
