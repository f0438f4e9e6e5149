"""``yurt quarantine``: lists, shows and replays events that could not be read."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlencode

import click
from rich.console import Group

from webhook.cli.client import call
from webhook.cli.duration import age, duration
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo, echo_json
from webhook.cli.terminal import EscapingConsole, facts, plain, progress, table

_REASONS_SHOWN = 10


@click.group()
def command() -> None:
    """List, show or replay events that could not be read.

    Durations are written 30m, 2h or 7d.
    """


@command.command("list")
@url_option
@click.option("--source", help="Only this source.")
@click.option("--reason", help="Only reasons that contain this text.")
@click.option("--older", "older_seconds", type=duration, help="Received last at least so long ago.")
@click.option("--newer", "newer_seconds", type=duration, help="Received last at most so long ago.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Texts shown.")
@click.option("--json", "as_json", is_flag=True, help="The answer of GET /v1/quarantine.")
def list_(url: str, as_json: bool, **filters: Any) -> None:
    """List events that could not be read, newest first."""
    query = urlencode({name: value for name, value in filters.items() if value is not None})
    page = call("GET", url, f"/v1/quarantine?{query}", admin_token(url))
    if as_json:
        echo_json(page)
    elif not page["items"]:
        echo("Nothing of that kind is in quarantine.")
    else:
        EscapingConsole().print(_listed(page))


def _listed(page: dict[str, Any]) -> Group:
    columns = ("number", "source", "came", "bytes", "last", "reason")
    items = table("Quarantine", *columns, numbers=["number", "came", "bytes", "last"])
    for row in page["items"]:
        size = f"{row['size_bytes']}{'+' if row['truncated'] else ''}"
        came = f"{row['times']} times" if row["times"] > 1 else "once"
        items.add_row(
            str(row["id"]), plain(row["source"]), came, size, age(row["received_at"]), plain(row["reason"])
        )  # fmt: skip
    return Group(
        items,
        plain(f"The text of one:          yurt quarantine show {page['items'][0]['id']}"),
        plain("Once Yurt can read them:  yurt quarantine replay --all"),
    )


@command.command()
@url_option
@click.argument("number", type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="The answer of GET /v1/quarantine/{id}.")
def show(url: str, number: int, as_json: bool) -> None:
    """Show an event, with control characters escaped."""
    item = call("GET", url, f"/v1/quarantine/{number}", admin_token(url))
    if as_json:
        echo_json(item)
        return
    cut = ", of which only this beginning was kept: it cannot be replayed" if item["truncated"] else ""
    rows = [
        ("number", str(item["id"])),
        ("source", item["source"]),
        ("came", f"{item['times']} times, last {item['received_at']}, {age(item['received_at'])} ago"),
        ("size", f"{item['size_bytes']} bytes{cut}"),
        ("reason", item["reason"]),
    ]
    if item["raw"] is None:
        text = [plain("It is not UTF-8. In Base64:"), plain(item["raw_base64"])]
    else:
        text = [plain("Text:"), plain(item["raw"], lines=True)]
    # Not wrapped at the width of the terminal, so that the text can be copied.
    EscapingConsole(soft_wrap=True).print(Group(facts(rows), *text))


@command.command()
@url_option
@click.argument("ids", nargs=-1, type=click.IntRange(1))
@click.option("--source", help="Only this source.")
@click.option("--reason", help="Only reasons that contain this text.")
@click.option("--older", "older_seconds", type=duration, help="Received last at least so long ago.")
@click.option("--newer", "newer_seconds", type=duration, help="Received last at most so long ago.")
@click.option("--all", "everything", is_flag=True, help="Everything in quarantine.")
@click.option("--dry-run", is_flag=True, help="Only say which could be read.")
def replay(url: str, ids: tuple[int, ...], everything: bool, dry_run: bool, **filters: Any) -> None:
    """Read events again, with the control plane as it is now.

    By number, by a filter, or --all. An event that can be read is handled as if it came now, and leaves the
    quarantine. Exit status 1 if an event still cannot be read.
    """
    selection = {name: value for name, value in {**filters, "ids": list(ids)}.items() if value not in (None, [])}
    if bool(selection) == everything:
        fail("give numbers, a filter, or --all alone. See the events with yurt quarantine list")
    total = _replay(url, {**(selection or {"all": True}), "dry_run": dry_run})
    _print(total, dry_run)
    if total["refused"] or total["truncated"]:
        raise SystemExit(1)


def _replay(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Replay page by page; the sums of all pages."""
    total: dict[str, Any] = {"replayed": 0, "verdicts": Counter(), "refused": [], "truncated": []}
    after, token = None, admin_token(url)
    bar, task = progress("replay", None)
    with bar:
        while True:
            replayed = call("POST", url, "/v1/quarantine/replay", token, {**body, "after": after})
            for name, value in total.items():
                total[name] = value + (Counter(replayed[name]) if name == "verdicts" else replayed[name])
            bar.update(task, completed=total["replayed"])
            after = replayed["next"]
            if after is None:
                return total


def _print(total: dict[str, Any], dry_run: bool) -> None:
    verdicts = ", ".join(f"{events} {verdict}" for verdict, events in total["verdicts"].items())
    if dry_run:
        echo(f"{total['replayed']} can be read now. Nothing was changed.")
    else:
        echo(f"{total['replayed']} replayed{f': {verdicts}' if verdicts else ''}.")
    if total["refused"]:
        echo(f"{len(total['refused'])} still cannot be read:")
        for refused in total["refused"][:_REASONS_SHOWN]:
            echo(f"  {refused['id']}: {plain(refused['reason'])}")
    if total["truncated"]:
        echo(
            f"{len(total['truncated'])} cannot be read again, because only their beginnings were kept: announce "
            "their objects by hand (docs/operations.md), or find them with yurt backfill."
        )
