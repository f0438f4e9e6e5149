"""``yurt status``: shows pipelines, backlog, workers and parked objects."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from webhook.cli.client import ControlPlaneRefused, ControlPlaneUnreachable, ask
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo_json
from webhook.cli.terminal import EscapingConsole, plain, table
from webhook.cost_phases import PHASES
from webhook.diagnosis import Diagnosis, diagnose

_STATES = ("pending", "leased", "done", "parked")
_SELDOM = ("gone", "forgotten")
"""States that have a column only where there is something in it: a terminal is 80 characters wide."""
_AHEAD = ("now", "minted", "helped", "$ before work")
_MONEY = (*PHASES, "spent", "budget", "an hour")
_MACHINES = ("starting", "ready", "draining", "slaying")


@click.command()
@url_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --watch, one a line.")
@click.option("--watch", is_flag=True, help="Repeat every --interval seconds, until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="Seconds.")
def command(url: str, as_json: bool, watch: bool, interval: float) -> None:
    """Show pipelines, backlog, workers and parked objects.

    Exit status 1 where the control plane does not answer, or something is unaccounted for.
    """
    token = admin_token(url)
    try:
        if watch:
            _watch(url, token, as_json, interval)
        else:
            _once(url, token, as_json)
    except ControlPlaneUnreachable as error:
        fail(str(error), status=1)


def _once(url: str, token: str, as_json: bool) -> None:
    status = ask("GET", url, "/v1/status", token)
    if as_json:
        echo_json(status)
    else:
        EscapingConsole().print(render(status))
    if any(status["unaccounted"].values()):
        raise SystemExit(1)


def _watch(url: str, token: str, as_json: bool, interval: float) -> None:
    if as_json:
        while True:
            echo_json(ask("GET", url, "/v1/status", token))
            time.sleep(interval)
    with Live(console=EscapingConsole(), auto_refresh=False, screen=EscapingConsole().is_terminal) as live:
        while True:
            try:
                shown: RenderableType = render(ask("GET", url, "/v1/status", token))
            except ControlPlaneRefused:
                raise
            except ControlPlaneUnreachable as error:
                shown = Text(f"{error}\nTrying again …", style="red")
            live.update(shown, refresh=True)
            time.sleep(interval)


def render(status: dict[str, Any]) -> RenderableType:
    """The status as tables."""
    parts: list[RenderableType] = [_pipelines(status), _pools(status)]
    parts += filter(None, (_services(status), _money(status), _results(status), _ahead(status)))
    if status["parked"]:
        parts.append(_parked(status))
    parts += map(_line, diagnose(status))
    return Group(*parts)


def _line(found: Diagnosis) -> Text:
    return Text(f"{found.subject}: {found.sentence}. {found.advice}", style="yellow" if found.warning else "red")


def _pipelines(status: dict[str, Any]) -> Table:
    standing = [pipeline["objects"] for pipeline in status["pipelines"].values()]
    states = (*_STATES, *(state for state in _SELDOM if any(objects.get(state) for objects in standing)))
    shown = table("Pipelines", "pipeline", "events", *states, "waits", numbers=("events", *states, "waits"))
    for name, pipeline in status["pipelines"].items():
        objects = pipeline["objects"]
        shown.add_row(
            Text(name),
            str(pipeline["events"].get("received", 0)),
            *(str(objects.get(state, 0)) for state in states),
            f"{pipeline['oldest_due_seconds']:.0f} s" if objects.get("pending") else "–",
        )
    unread = status["unrouted"].get("quarantined", 0)
    if unread or status["unrouted"].get("ignored"):
        shown.caption = f"watched by no pipeline: {status['unrouted'].get('ignored', 0)} events; quarantined: {unread}"
    return shown


def _pools(status: dict[str, Any]) -> Table:
    columns = ("pool", *_MACHINES, "limit", "minted", "slain")
    shown = table("Pools", *columns, numbers=columns[1:])
    for name, pool in status["pools"].items():
        known = pool["machines"]
        known["starting"] = known.get("intended", 0) + known.get("booting", 0)
        machines = (str(known.get(state, 0)) for state in _MACHINES)
        shown.add_row(Text(name), *machines, str(pool["limit"]), str(pool["minted"]), str(pool["slain"]))
    return shown


def _services(status: dict[str, Any]) -> Table | None:
    """Requests to services, where there are any services."""
    shown = table("Services", "service", "machines", "waiting", "in flight", numbers=("waiting", "in flight"))
    for name, service in status.get("services", {}).items():
        machines = ", ".join(f"{number} {state}" for state, number in service["machines"].items()) or "none"
        shown.add_row(Text(name), machines, str(service["waiting"]), str(service["in_flight"]))
    return shown if shown.row_count else None


def _money(status: dict[str, Any]) -> Table | None:
    """What pools spend, where any costs anything or has a budget."""
    shown = table("Money today (UTC), in US dollars", "pool", *_MONEY, numbers=_MONEY)
    for name, pool in status["pools"].items():
        _add_money(shown, name, pool, Decimal(pool.get("usd_per_hour", 0)))
    if shown.row_count > 1 or status.get("budget_usd_per_day") is not None:
        prices = (Decimal(pool.get("usd_per_hour", 0)) for pool in status["pools"].values())
        _add_money(shown, "all pools", status, sum(prices, start=Decimal(0)))
    return shown if shown.row_count else None


def _add_money(shown: Table, name: str, of: dict[str, Any], usd_per_hour: Decimal) -> None:
    spent, budget = Decimal(of.get("spent_today_usd", 0)), of.get("budget_usd_per_day")
    if spent or usd_per_hour or budget is not None:
        left = "–" if budget is None else f"{Decimal(budget):.2f}"
        by_phase = (f"{_spent_on(phase, of):.4f}" for phase in PHASES)
        shown.add_row(Text(name), *by_phase, f"{spent:.4f}", left, f"{usd_per_hour:.4f}")


def _spent_on(phase: str, of: dict[str, Any]) -> Decimal:
    """What one pool, or all of them, has spent today on a phase."""
    pools = of["pools"].values() if "pools" in of else [of]
    return sum((Decimal(pool.get("today_usd", {}).get(phase, 0)) for pool in pools), start=Decimal(0))


def _results(status: dict[str, Any]) -> Table | None:
    """What results cost, where any has cost something."""
    numbers = ("results", "work", "of one")
    shown = table("Results today (UTC), and what they cost in US dollars", "pipeline", *numbers, numbers=numbers)
    for name, pipeline in status["pipelines"].items():
        work, one = Decimal(pipeline.get("work_today_usd", 0)), pipeline.get("usd_per_result")
        if work:
            each = "–" if one is None else f"{Decimal(one):.6f}"
            shown.add_row(Text(name), str(pipeline["results_today"]), f"{work:.4f}", each)
    return shown if shown.row_count else None


def _ahead(status: dict[str, Any]) -> Table | None:
    """Machines that were minted before there was work, why, whether they helped, and what they cost until they did."""
    shown = table("Minted ahead of the work", "pool", "reason", *_AHEAD, numbers=_AHEAD)
    for name, pool in status["pools"].items():
        for reason, ahead in pool.get("ahead", {}).items():
            counts = (str(ahead[count]) for count in ("present", "minted", "helped"))
            shown.add_row(Text(name), reason, *counts, f"{Decimal(ahead['usd']):.4f}")
    return shown if shown.row_count else None


def _parked(status: dict[str, Any]) -> Text:
    lines = [Text("Parked", style="bold")]
    for row in status["parked"]:
        lines.append(Text.assemble(f"{row['pipeline']} ", plain(row["key"])))
        lines.append(Text.assemble(f"    {row['reason']}, {row['attempts']} attempts: ", plain(row["message"])))
    return Text("\n").join(lines)
