"""``yurt costs``: shows what machines have cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import click
from rich.console import Group, RenderableType

from webhook.cli.client import call
from webhook.cli.options import admin_token, url_option
from webhook.cli.output import echo, echo_json
from webhook.cli.terminal import EscapingConsole, plain, table
from webhook.cost_phases import PHASES, beneficiary
from webhook.usd import exact

_KEYS = ("pipeline", "pool", "provider", "day", "phase")
_NO_PIPELINE = "(no pipeline)"
"""Where costs stand that were for none: ready machines without work, booting ones, and what is paid once."""


@dataclass(slots=True)
class CostLine:
    """What was spent on one thing, in US dollars, by phase."""

    name: str
    by_phase: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(PHASES, Decimal(0)))

    @property
    def total(self) -> Decimal:
        """All phases together."""
        return sum(self.by_phase.values(), start=Decimal(0))

    def as_json(self) -> dict[str, str]:
        """Name and exact amounts."""
        phases = {phase: exact(usd) for phase, usd in self.by_phase.items()}
        return {"name": self.name, **phases, "total_usd": exact(self.total)}


@click.command()
@url_option
@click.option("--by", type=click.Choice(_KEYS), default="pool", show_default=True, help="What to add up by.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="First day, UTC. By default 30 days are shown.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Last day, UTC. By default today.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values, with a head.")
def command(url: str, by: str, since: date | None, until: date | None, as_json: bool, as_csv: bool) -> None:
    """Show what machines have cost: work, and apart from it idle and boot time, so that the sum is the bill.

    A day is one of UTC. Amounts are exact in --json and --csv.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    days = {"since": since, "until": until}
    query = urlencode({name: day.strftime("%Y-%m-%d") for name, day in days.items() if day})
    costs = call("GET", url, f"/v1/costs?{query}", admin_token(url))
    lines = added_up(costs["costs"], by)
    if as_json:
        about = {name: costs[name] for name in ("since", "until", "total_usd")}
        echo_json({**about, "by": by, "costs": [line.as_json() for line in lines]})
    elif as_csv:
        echo(_csv(by, lines))
    elif lines:
        EscapingConsole().print(_shown(costs, by, lines))
    else:
        echo(f"Nothing was spent from {costs['since']} to {costs['until']} (UTC).")


def added_up(costs: Iterable[Mapping[str, Any]], by: str) -> list[CostLine]:
    """Add costs up by one of their fields: days in their order, all else dearest first."""
    lines: dict[str, CostLine] = {}
    for cost in costs:
        name = (beneficiary(cost["phase"], cost[by]) if by == "pipeline" else cost[by]) or _NO_PIPELINE
        line = lines.setdefault(name, CostLine(name))
        line.by_phase[cost["phase"]] += Decimal(cost["usd"])
    if by == "day":
        return [lines[name] for name in sorted(lines)]
    return sorted(lines.values(), key=lambda line: (-line.total, line.name))


def _csv(by: str, lines: Iterable[CostLine]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((by, *PHASES, "total_usd"))
    for line in lines:
        writer.writerow(line.as_json().values())
    return text.getvalue().rstrip("\n")


def _shown(costs: Mapping[str, Any], by: str, lines: Iterable[CostLine]) -> RenderableType:
    phases = () if by == "phase" else PHASES
    title = f"US dollars from {costs['since']} to {costs['until']} (UTC)"
    shown = table(title, by, *phases, "total", numbers=(*PHASES, "total"))
    everything = CostLine("total")
    for line in lines:
        shown.add_row(plain(line.name), *_amounts(line, phases))
        for phase, usd in line.by_phase.items():
            everything.by_phase[phase] += usd
    shown.add_row("total", *_amounts(everything, phases), style="bold")
    return Group(shown, plain("once: what is paid once for a machine, such as traffic"))


def _amounts(line: CostLine, phases: Iterable[str]) -> list[str]:
    return [f"{usd:,.4f}" for usd in (*(line.by_phase[phase] for phase in phases), line.total)]
