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
from webhook.diagnosis import diagnose

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
    parts += [Text(f"{p.subject}: {p.sentence}. {p.advice}", style="red") for p in diagnose(status)]
    return Group(*parts)


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
