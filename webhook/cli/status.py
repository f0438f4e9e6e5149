"""``yurt status``: shows pipelines, backlog, workers and parked objects."""

from __future__ import annotations

import json
import time
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from webhook.cli.client import ControlPlaneUnreachable, ask
from webhook.cli.options import admin_token, fail, url_option

_STATES = ("pending", "leased", "done", "parked")
_SELDOM = ("gone", "forgotten")
"""States that have a column only where there is something in it: a terminal is 80 characters wide."""
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
    token = admin_token()
    try:
        if watch:
            _watch(url, token, as_json, interval)
        else:
            _once(url, token, as_json)
    except ControlPlaneUnreachable as error:
        fail(str(error), status=1)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _once(url: str, token: str, as_json: bool) -> None:
    status = ask("GET", url, "/v1/status", token)
    if as_json:
        click.echo(json.dumps(status))
    else:
        Console().print(render(status))
    if any(status["unaccounted"].values()):
        raise SystemExit(1)


def _watch(url: str, token: str, as_json: bool, interval: float) -> None:
    if as_json:
        while True:
            click.echo(json.dumps(ask("GET", url, "/v1/status", token)))
            time.sleep(interval)
    with Live(console=Console(), auto_refresh=False, screen=Console().is_terminal) as live:
        while True:
            try:
                shown: RenderableType = render(ask("GET", url, "/v1/status", token))
            except ControlPlaneUnreachable as error:
                shown = Text(f"{error}\nTrying again …", style="red")
            live.update(shown, refresh=True)
            time.sleep(interval)


def render(status: dict[str, Any]) -> RenderableType:
    """The status as tables."""
    parts: list[RenderableType] = [_pipelines(status), _pools(status)]
    if status["parked"]:
        parts.append(_parked(status))
    parts += _hints(status)
    parts += _minting_faults(status)
    parts += [
        Text(f"The control plane's {failing['loop']} fails since {failing['seconds']:.0f} s: {failing['error']}", "red")
        for failing in status.get("failing_loops", ())
    ]
    for name, pipeline in status["pipelines"].items():
        if pipeline["refused"]:
            parts.append(Text(f"No work is handed out for {name}: {pipeline['refused']}.", style="red"))
    wrong = {unit: number for unit, number in status["unaccounted"].items() if number}
    if wrong:
        parts.append(Text(f"Unaccounted for: {wrong}. This is a bug in Yurt: please report it.", style="bold red"))
    return Group(*parts)


def _hints(status: dict[str, Any]) -> list[Text]:
    """What to do next about what needs a person."""
    parked = sum(pipeline["objects"].get("parked", 0) for pipeline in status["pipelines"].values())
    hints = [(parked, "parked", "yurt parked list"), (status["quarantined"], "quarantined", "yurt quarantine list")]
    return [Text(f"{number} {what}: {command}") for number, what, command in hints if number]


def _minting_faults(status: dict[str, Any]) -> list[Text]:
    """A line for each pool for which no machine is minted, or not as many as are needed, and why."""
    lines = []
    for name, pool in status["pools"].items():
        if pool["breaker"] != "closed":
            what = "nothing is minted" if pool["breaker"] == "open" else "one machine is tried"
            lines.append(f"Pool {name}: {what} after failed starts. The last: {pool['last_failure'] or 'unknown'}")
        if pool["frozen"]:
            errors = {provider["last_error"] for provider in status["providers"].values()} - {""}
            why = f" ({'; '.join(sorted(errors))})" if errors else ""
            lines.append(f"Pool {name}: frozen, since its provider's list fails or cannot be true{why}")
    return [Text(line, style="red") for line in lines]


def _table(title: str, *columns: str, numbers: int) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", expand=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position >= len(columns) - numbers else "left", overflow="fold")
    return table


def _pipelines(status: dict[str, Any]) -> Table:
    standing = [pipeline["objects"] for pipeline in status["pipelines"].values()]
    states = (*_STATES, *(state for state in _SELDOM if any(objects.get(state) for objects in standing)))
    table = _table("Pipelines", "pipeline", "events", *states, "waiting for", numbers=len(states) + 2)
    for name, pipeline in status["pipelines"].items():
        objects = pipeline["objects"]
        table.add_row(
            Text(name),
            str(pipeline["events"].get("received", 0)),
            *(str(objects.get(state, 0)) for state in states),
            f"{pipeline['oldest_due_seconds']:.0f} s" if objects.get("pending") else "–",
        )
    unread = status["unrouted"].get("quarantined", 0)
    if unread or status["unrouted"].get("ignored"):
        table.caption = f"watched by no pipeline: {status['unrouted'].get('ignored', 0)} events; quarantined: {unread}"
    return table


def _pools(status: dict[str, Any]) -> Table:
    table = _table("Pools", "pool", *_MACHINES, "limit", "minted", "slain", numbers=len(_MACHINES) + 3)
    for name, pool in status["pools"].items():
        known = pool["machines"]
        known["starting"] = known.get("intended", 0) + known.get("booting", 0)
        machines = (str(known.get(state, 0)) for state in _MACHINES)
        table.add_row(Text(name), *machines, str(pool["limit"]), str(pool["minted"]), str(pool["slain"]))
    return table


def _parked(status: dict[str, Any]) -> Table:
    table = _table("Parked", "pipeline", "key", "reason", "why", "attempts", numbers=1)
    for row in status["parked"]:
        cells = (row["pipeline"], row["key"], row["reason"], row["message"])
        table.add_row(*(Text(cell) for cell in cells), str(row["attempts"]))
    return table
