"""``yurt callbacks``: lists, shows and replays what apps were told."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import click
from rich.console import Group, RenderableType

from webhook.cli.client import call
from webhook.cli.duration import age
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo, echo_json
from webhook.cli.terminal import EscapingConsole, facts, plain, table

_STATES = ("waiting", "told", "given-up")


@click.group()
def command() -> None:
    """List, show or replay callbacks: what apps were told of settled objects, and what they are still to be told."""


@command.command("list")
@url_option
@click.option("--pipeline", help="Only this pipeline.")
@click.option("--state", type=click.Choice(_STATES), help="Only these.")
@click.option("--key", help="Only of this object.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Callbacks shown.")
@click.option("--json", "as_json", is_flag=True, help="The answer of GET /v1/callbacks.")
def list_(url: str, as_json: bool, **filters: Any) -> None:
    """List callbacks, newest first, and count them by pipeline."""
    query = urlencode({name: value for name, value in filters.items() if value is not None})
    page = call("GET", url, f"/v1/callbacks?{query}", admin_token(url))
    if as_json:
        echo_json(page)
    elif not page["counts"]:
        echo("No pipeline has a callback: set [pipelines.NAME.callback] (docs/callbacks.md).")
    else:
        EscapingConsole().print(_listed(page))


def _listed(page: dict[str, Any]) -> Group:
    parts: list[RenderableType] = [_counted(page["counts"])]
    if page["callbacks"]:
        items = table("Callbacks", "number", "pipeline", "key", "settled", "state", "tries", "last", numbers=["number"])
        for row in page["callbacks"]:
            last = row["error"] or (str(row["status"]) if row["status"] else "–")
            settled = f"{row['settled_as']} {age(row['settled_at'])} ago"
            texts = (row["pipeline"], row["key"], settled, row["state"], str(row["attempts"]), last)
            items.add_row(str(row["id"]), *map(plain, texts))
        parts.append(items)
    if any(row["given_up"] for row in page["counts"]):
        parts.append(plain("Tell again what was given up:  yurt callbacks replay PIPELINE --given-up"))
    return Group(*parts)


def _counted(counts: list[dict[str, Any]]) -> RenderableType:
    numbers = ["told", "waiting", "oldest", "given up"]
    shown = table("Pipelines", "pipeline", *numbers, "receiver", numbers=numbers)
    for row in counts:
        oldest = f"{row['oldest_seconds']:.0f} s" if row["waiting"] else "–"
        receiver = "has turned them off (410)" if row["off"] else "on"
        shown.add_row(
            plain(row["pipeline"]), str(row["told"]), str(row["waiting"]), oldest, str(row["given_up"]), receiver
        )
    return shown


@command.command()
@url_option
@click.argument("number", type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="The answer of GET /v1/callbacks/{id}.")
def show(url: str, number: int, as_json: bool) -> None:
    """Show one callback with all that is known of it."""
    item = call("GET", url, f"/v1/callbacks/{number}", admin_token(url))
    if as_json:
        echo_json(item)
        return
    rows = [(name.replace("_", " "), str(value)) for name, value in item.items() if value is not None]
    EscapingConsole(soft_wrap=True).print(facts(rows))


@command.command()
@url_option
@click.argument("pipeline")
@click.argument("ids", nargs=-1, type=click.IntRange(1))
@click.option("--given-up", is_flag=True, help="All that were given up.")
@click.option("--told", is_flag=True, help="All that were told, for an app that has lost what it knew.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@click.option("--json", "as_json", is_flag=True, help="The answer of POST /v1/callbacks/replay.")
def replay(
    pipeline: str, url: str, ids: tuple[int, ...], given_up: bool, told: bool, dry_run: bool, as_json: bool
) -> None:
    """Tell the app of PIPELINE again: by number, all that were given up, or all that were told.

    Of each object only the latest callback is told again. A receiver that had turned its callbacks off gets them again.
    """
    if sum((bool(ids), given_up, told)) != 1:
        fail("give numbers, --given-up or --told. See the callbacks with yurt callbacks list")
    state = "given-up" if given_up else "told" if told else None
    body = {"pipeline": pipeline, "state": state, "ids": list(ids) or None, "dry_run": dry_run}
    answer = call("POST", url, "/v1/callbacks/replay", admin_token(url), body)
    if as_json:
        echo_json(answer)
        return
    echo(f"{answer['replayed']} {'would be' if dry_run else 'are'} told again.")
    if answer["outdated"]:
        echo(f"{answer['outdated']} are left alone: a later callback of their object is there.")
