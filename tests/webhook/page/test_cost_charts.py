"""Sums and the chart of costs."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from webhook.api.costs import Cost, Costs
from webhook.cost_phases import Phase
from webhook.page.cost_charts import HEIGHT, WIDTH, cost_chart, totals


def cost(day: int, phase: Phase, usd: str, pool: str = "gpu") -> Cost:
    return Cost(day=date(2026, 5, day), pool=pool, provider="vast", phase=phase, pipeline="", usd=Decimal(usd))


def costs(*rows: Cost, days: int = 4) -> Costs:
    total = sum((row.usd for row in rows), start=Decimal(0))
    return Costs(since=date(2026, 5, 1), until=date(2026, 5, days), costs=list(rows), total_usd=total)


def test_bars_of_a_day_stand_on_each_other_and_fill_the_scale() -> None:
    chart = cost_chart(costs(cost(1, "work", "3"), cost(1, "idle", "1"), cost(3, "work", "2")))
    assert chart.most_usd == 4
    first, second, third = chart.bars
    assert (first.height, first.y) == (0.75 * HEIGHT, 0.25 * HEIGHT)
    assert (second.height, second.y) == (0.25 * HEIGHT, 0)
    assert (third.height, third.y) == (0.5 * HEIGHT, 0.5 * HEIGHT)
    assert first.x == second.x < WIDTH / 4
    assert 2 * WIDTH / 4 < third.x < 3 * WIDTH / 4
    assert "2026-05-03: $2.0000 work" in third.title


def test_days_without_costs_have_no_bars() -> None:
    assert cost_chart(costs()).bars == []
    assert cost_chart(costs(cost(1, "work", "0"))).bars == []


def test_sums_the_most_expensive_first() -> None:
    rows = costs(cost(1, "work", "1", "a"), cost(2, "work", "2", "b"), cost(3, "boot", "3", "a"))
    assert totals(rows, lambda row: row.pool) == [("a", Decimal(4)), ("b", Decimal(2))]
