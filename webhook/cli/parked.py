"""``yurt parked``: lists, shows, redrives and forgets parked objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

import click
from rich.console import Group

from webhook.cli.client import call
from webhook.cli.duration import age, duration
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo, echo_json
from webhook.cli.terminal import EscapingConsole, confirmed, facts, plain, progress, table

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def command() -> None:
    """List, show, redrive or forget parked objects: files that failed so often that they are not tried again.

    Durations are written 30m, 2h or 7d.
    """


def _filters(command: Command) -> Command:
    for option in (
        click.option("--newer", "newer_seconds", type=duration, help="Parked for at most so long."),
        click.option("--older", "older_seconds", type=duration, help="Parked for at least so long."),
        click.option("--prefix", help="Only keys that begin so."),
        click.option("--reason", help="Only this reason."),
        click.option("--pipeline", help="Only this pipeline."),
    ):
        command = option(command)
    return command


def _choice(command: Command) -> Command:
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask before more than a few are changed."),
        click.option("--dry-run", is_flag=True, help="Only count them."),
        click.option("--all", "everything", is_flag=True, help="All parked objects."),
    ):
        command = option(command)
    return _filters(click.argument("ids", nargs=-1, type=click.IntRange(1))(command))


@command.command("list")
@url_option
@_filters
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Objects shown.")
@click.option("--json", "as_json", is_flag=True, help="The answer of GET /v1/parked.")
def list_(url: str, limit: int, as_json: bool, **filters: Any) -> None:
    """List parked objects, newest first, and count them by reason."""
    page = _page(url, limit=limit, **filters)
    if as_json:
        echo_json(page)
    elif not page["objects"]:
        echo("No such object is parked." if any(filters.values()) else "No object is parked.")
    else:
        EscapingConsole().print(_listed(page))


def _page(url: str, **filters: Any) -> dict[str, Any]:
    query = urlencode({name: value for name, value in filters.items() if value is not None})
    return call("GET", url, f"/v1/parked?{query}", admin_token(url))


def _listed(page: dict[str, Any]) -> Group:
    counts = table("Parked, by reason", "pipeline", "reason", "objects", numbers=["objects"])
    for row in page["counts"]:
        counts.add_row(plain(row["pipeline"]), plain(row["reason"]), str(row["objects"]))
    columns = ("number", "pipeline", "key", "reason", "why", "attempts", "since")
    objects = table("The newest", *columns, numbers=["number", "attempts", "since"])
    for row in page["objects"]:
        texts = (plain(row[name]) for name in ("pipeline", "key", "reason", "message"))
        objects.add_row(str(row["id"]), *texts, str(row["attempts"]), age(row["parked_at"]))
    newest = page["objects"][0]
    return Group(
        counts,
        objects,
        plain(f"Details of one, with its log: yurt parked show {newest['id']}"),
        plain(f"Once the cause is mended:      yurt parked redrive --reason {newest['reason']}"),
        plain(f"To give one up for good:       yurt parked forget {newest['id']}"),
    )


@command.command()
@url_option
@click.argument("which", metavar="NUMBER|KEY")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as GET /v1/parked/{id} answers.")
def show(url: str, which: str, as_json: bool) -> None:
    """Show a parked object with the handler's log.

    A key shows the object in each pipeline that has parked it.
    """
    for number in [which] if which.isdecimal() else _numbers(url, which):
        parked = call("GET", url, f"/v1/parked/{number}", admin_token(url))
        if as_json:
            echo_json(parked)
        else:
            EscapingConsole().print(_shown(parked))


def _numbers(url: str, key: str) -> list[int]:
    numbers = [row["id"] for row in _page(url, key=key)["objects"]]
    if not numbers:
        fail("no parked object has this key: see the parked objects with yurt parked list", status=1)
    return numbers


def _shown(parked: dict[str, Any]) -> Group:
    received, result = parked["heard"], parked["result"] or {}
    rows = [
        ("number", str(parked["id"])),
        ("pipeline", parked["pipeline"]),
        ("object", f"s3://{parked['bucket']}/{parked['key']}"),
        ("parked", f"{parked['parked_at']}, {age(parked['parked_at'])} ago, in the lane {parked['lane']}"),
        ("attempts", f"{parked['attempts']}, and {parked['faults']} faults of the store"),
        ("last event", f"{received['at']}, ETag {received['etag'] or 'unknown'}, {_size(received['size'])}"),
        ("last modified", received["modified"] or ""),
        ("last result", f"{result['at']}, of ETag {result['etag']}" if result else "none"),
        ("reason", parked["reason"]),
        ("message", parked["message"]),
    ]
    again = plain(f"To process it again: yurt parked redrive {parked['id']}")
    log = [plain("Log:"), plain(parked["log"], lines=True)] if parked["log"] else [plain("There is no log.")]
    return Group(facts(rows), *log, again)


def _size(size: int | None) -> str:
    return "size unknown" if size is None else f"{size} bytes"


@command.command()
@url_option
@_choice
def redrive(url: str, **choice: Any) -> None:
    """Process parked objects again, now.

    By number, by a filter, or --all. Each has all its attempts again.
    """
    done = _move(url, "redrive", "Process {} parked objects again?", **choice)
    if done is not None:
        echo(f"{_objects(done)} due again. Follow them with: yurt status")


@command.command()
@url_option
@_choice
def forget(url: str, **choice: Any) -> None:
    """Give parked objects up for good.

    By number, by a filter, or --all. Only a newer upload is processed again. Results that exist stay.
    """
    done = _move(url, "forget", "Give {} parked objects up for good?", **choice)
    if done is not None:
        echo(f"{_objects(done)} forgotten.")


def _objects(number: int) -> str:
    return "1 object is" if number == 1 else f"{number} objects are"


def _move(
    url: str, verb: str, question: str, *, ids: tuple[int, ...], everything: bool, dry_run: bool, yes: bool,
    **filters: Any,
) -> int | None:  # fmt: skip
    """Count first, ask, then change page by page; how many were changed. None: nothing was to be changed."""
    selection = {name: value for name, value in {**filters, "ids": list(ids)}.items() if value not in (None, [])}
    if bool(selection) == everything:
        fail("give numbers, a filter, or --all alone. See the parked objects with yurt parked list")
    body = selection or {"all": True}
    path, token = f"/v1/parked/{verb}", admin_token(url)
    matching: int = call("POST", url, path, token, {**body, "dry_run": True})["objects"]
    if dry_run or not matching:
        echo(f"{matching} parked objects match. Nothing was changed.")
        return None
    confirmed(matching, question.format(matching), yes=yes)
    done: int = 0
    after: str | None = None
    bar, task = progress(verb, matching)
    with bar:
        while True:
            moved = call("POST", url, path, token, {**body, "after": after})
            done += moved["objects"]
            after = moved["next"]
            bar.update(task, completed=done)
            if after is None:
                return done
