"""``yurt quarantine``."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import click
from rich.console import Console, Group

from webhook.cli.client import call
from webhook.cli.duration import age, duration
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.terminal import facts, plain, progress, table

_REASONS_SHOWN = 10


@click.group()
def command() -> None:
    """Events that could not be read: which and why, and reading them again once Yurt can.

    Durations are written 30m, 2h or 7d.
    """


@command.command("list")
@url_option
@click.option("--source", help="Only of this one.")
@click.option("--reason", help="Part of the reason.")
@click.option("--older", "older_seconds", type=duration, help="Came last at least so long ago.")
@click.option("--newer", "newer_seconds", type=duration, help="Came last at most so long ago.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Texts shown.")
@click.option("--json", "as_json", is_flag=True, help="The answer of GET /v1/quarantine.")
def list_(url: str, as_json: bool, **asked: Any) -> None:
    """What could not be read, newest first."""
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    said = call("GET", url, f"/v1/quarantine?{query}", admin_token())
    if as_json:
        click.echo(json.dumps(said))
    elif not said["items"]:
        click.echo("Nothing of that kind is in quarantine.")
    else:
        Console().print(_listed(said))


def _listed(said: dict[str, Any]) -> Group:
    columns = ("number", "source", "came", "bytes", "last", "reason")
    items = table("Quarantine", *columns, numbers=["number", "came", "bytes", "last"])
    for row in said["items"]:
        size = f"{row['size_bytes']}{'+' if row['truncated'] else ''}"
        came = f"{row['times']} times" if row["times"] > 1 else "once"
        items.add_row(
            str(row["id"]), plain(row["source"]), came, size, age(row["received_at"]), plain(row["reason"])
        )  # fmt: skip
    return Group(
        items,
        plain(f"The text of one:          yurt quarantine show {said['items'][0]['id']}"),
        plain("Once Yurt can read them:  yurt quarantine replay --all"),
    )


@command.command()
@url_option
@click.argument("number", type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="The answer of GET /v1/quarantine/{id}.")
def show(url: str, number: int, as_json: bool) -> None:
    """One text that could not be read, with what a terminal would act on written out."""
    said = call("GET", url, f"/v1/quarantine/{number}", admin_token())
    if as_json:
        click.echo(json.dumps(said))
        return
    cut = ", of which only this beginning was kept: it cannot be replayed" if said["truncated"] else ""
    rows = [
        ("number", str(said["id"])),
        ("source", said["source"]),
        ("came", f"{said['times']} times, last {said['received_at']}, {age(said['received_at'])} ago"),
        ("size", f"{said['size_bytes']} bytes{cut}"),
        ("reason", said["reason"]),
    ]
    if said["raw"] is None:
        text = [plain("It is not UTF-8. In Base64:"), plain(said["raw_base64"])]
    else:
        text = [plain("Text:"), plain(said["raw"], lines=True)]
    # A terminal's width does not break what may be copied.
    Console(soft_wrap=True).print(Group(facts(rows), *text))


@command.command()
@url_option
@click.argument("ids", nargs=-1, type=click.IntRange(1))
@click.option("--source", help="Only of this one.")
@click.option("--reason", help="Part of the reason.")
@click.option("--older", "older_seconds", type=duration, help="Came last at least so long ago.")
@click.option("--newer", "newer_seconds", type=duration, help="Came last at most so long ago.")
@click.option("--all", "everything", is_flag=True, help="All that is in quarantine.")
@click.option("--dry-run", is_flag=True, help="Only say what can be read.")
def replay(url: str, ids: tuple[int, ...], everything: bool, dry_run: bool, **filters: Any) -> None:
    """Read texts again, with the control plane as it is now: by number, by a filter, or --all.

    What can be read is taken in as if it came now, and leaves the quarantine. Exit status 1 where something still
    cannot be read.
    """
    said = {name: value for name, value in {**filters, "ids": list(ids)}.items() if value not in (None, [])}
    if bool(said) == everything:
        fail("say which: numbers, a filter, or --all on its own. See them: yurt quarantine list")
    total = _replay(url, {**(said or {"all": True}), "dry_run": dry_run})
    _tell(total, dry_run)
    if total["refused"] or total["truncated"]:
        raise SystemExit(1)


def _replay(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """All pages' answers in one."""
    total: dict[str, Any] = {"replayed": 0, "verdicts": Counter(), "refused": [], "truncated": []}
    after, token = None, admin_token()
    bar, task = progress("replay", None)
    with bar:
        while True:
            said = call("POST", url, "/v1/quarantine/replay", token, {**body, "after": after})
            for name, value in total.items():
                total[name] = value + (Counter(said[name]) if name == "verdicts" else said[name])
            bar.update(task, completed=total["replayed"])
            after = said["next"]
            if after is None:
                return total


def _tell(total: dict[str, Any], dry_run: bool) -> None:
    verdicts = ", ".join(f"{events} {verdict}" for verdict, events in total["verdicts"].items())
    if dry_run:
        click.echo(f"{total['replayed']} can be read now. Nothing was changed.")
    else:
        click.echo(f"{total['replayed']} read and taken in{f': {verdicts}' if verdicts else ''}.")
    if total["refused"]:
        click.echo(f"{len(total['refused'])} still cannot be read:")
        for refused in total["refused"][:_REASONS_SHOWN]:
            click.echo(f"  {refused['id']}: {plain(refused['reason'])}")
    if total["truncated"]:
        click.echo(
            f"{len(total['truncated'])} cannot be read again, for only their beginnings were kept: announce their "
            "objects by hand (docs/operations.md), or let a sweep find them."
        )
