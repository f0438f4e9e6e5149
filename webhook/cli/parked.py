"""``yurt parked``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

import click
from rich.console import Console, Group

from webhook.cli.client import call
from webhook.cli.duration import age, duration
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.terminal import confirmed, facts, plain, progress, table

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def command() -> None:
    """Objects that were given up: which and why, and what to do with them.

    Durations are written 30m, 2h or 7d.
    """


def _filters(command: Command) -> Command:
    for option in (
        click.option("--newer", "newer_seconds", type=duration, help="Parked for at most so long."),
        click.option("--older", "older_seconds", type=duration, help="Parked for at least so long."),
        click.option("--prefix", help="Of the key."),
        click.option("--reason", help="Exactly this one."),
        click.option("--pipeline", help="Only of this one."),
    ):
        command = option(command)
    return command


def _choice(command: Command) -> Command:
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask before more than a few are changed."),
        click.option("--dry-run", is_flag=True, help="Only say how many."),
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
    """Parked objects, newest first, and how many there are by reason."""
    said = _page(url, limit=limit, **filters)
    if as_json:
        click.echo(json.dumps(said))
    elif not said["objects"]:
        click.echo("No such object is parked." if any(filters.values()) else "No object is parked.")
    else:
        Console().print(_listed(said))


def _page(url: str, **asked: Any) -> dict[str, Any]:
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return call("GET", url, f"/v1/parked?{query}", admin_token())


def _listed(said: dict[str, Any]) -> Group:
    counts = table("Parked, by reason", "pipeline", "reason", "objects", numbers=["objects"])
    for row in said["counts"]:
        counts.add_row(plain(row["pipeline"]), plain(row["reason"]), str(row["objects"]))
    columns = ("number", "pipeline", "key", "reason", "why", "attempts", "since")
    objects = table("The newest", *columns, numbers=["number", "attempts", "since"])
    for row in said["objects"]:
        texts = (plain(row[name]) for name in ("pipeline", "key", "reason", "message"))
        objects.add_row(str(row["id"]), *texts, str(row["attempts"]), age(row["parked_at"]))
    newest = said["objects"][0]
    return Group(
        counts,
        objects,
        plain(f"More about one, its log too: yurt parked show {newest['id']}"),
        plain(f"Once the cause is mended:    yurt parked redrive --reason {newest['reason']}"),
        plain(f"To leave one as it is:       yurt parked forget {newest['id']}"),
    )


@command.command()
@url_option
@click.argument("which", metavar="NUMBER|KEY")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as GET /v1/parked/{id} answers.")
def show(url: str, which: str, as_json: bool) -> None:
    """All that is known of one parked object, the handler's log too. By its key, of each pipeline that parked it."""
    for number in [which] if which.isdecimal() else _numbers(url, which):
        said = call("GET", url, f"/v1/parked/{number}", admin_token())
        if as_json:
            click.echo(json.dumps(said))
        else:
            Console().print(_shown(said))


def _numbers(url: str, key: str) -> list[int]:
    found = [row["id"] for row in _page(url, key=key)["objects"]]
    if not found:
        fail("no parked object has this key: yurt parked list shows those there are", status=1)
    return found


def _shown(said: dict[str, Any]) -> Group:
    heard, result = said["heard"], said["result"] or {}
    rows = [
        ("number", str(said["id"])),
        ("pipeline", said["pipeline"]),
        ("object", f"s3://{said['bucket']}/{said['key']}"),
        ("parked", f"{said['parked_at']}, {age(said['parked_at'])} ago, in the lane {said['lane']}"),
        ("attempts", f"{said['attempts']}, and {said['faults']} faults of the store"),
        ("heard", f"{heard['at']}, ETag {heard['etag'] or 'unknown'}, {_size(heard['size'])}"),
        ("last modified", heard["modified"] or ""),
        ("last result", f"{result['at']}, of ETag {result['etag']}" if result else "none"),
        ("reason", said["reason"]),
        ("message", said["message"]),
    ]
    again = plain(f"To work it again: yurt parked redrive {said['id']}")
    log = [plain("Log:"), plain(said["log"], lines=True)] if said["log"] else [plain("There is no log.")]
    return Group(facts(rows), *log, again)


def _size(size: int | None) -> str:
    return "size unknown" if size is None else f"{size} bytes"


@command.command()
@url_option
@_choice
def redrive(url: str, **choice: Any) -> None:
    """Work parked objects again, now, with all their attempts before them: by number, by a filter, or --all."""
    done = _move(url, "redrive", "Work {} parked objects again?", **choice)
    if done is not None:
        click.echo(f"{_objects(done)} due again. How they fare: yurt status")


@command.command()
@url_option
@_choice
def forget(url: str, **choice: Any) -> None:
    """Leave parked objects as they are, for good: only a newer upload works them again. Results that exist stay."""
    done = _move(url, "forget", "Leave {} parked objects as they are, for good?", **choice)
    if done is not None:
        click.echo(f"{_objects(done)} forgotten.")


def _objects(number: int) -> str:
    return "1 object is" if number == 1 else f"{number} objects are"


def _move(
    url: str, verb: str, question: str, *, ids: tuple[int, ...], everything: bool, dry_run: bool, yes: bool,
    **filters: Any,
) -> int | None:  # fmt: skip
    """How many were changed. None where nothing was to be."""
    said = {name: value for name, value in {**filters, "ids": list(ids)}.items() if value not in (None, [])}
    if bool(said) == everything:
        fail("say which: numbers, a filter, or --all on its own. See them: yurt parked list")
    body = said or {"all": True}
    path, token = f"/v1/parked/{verb}", admin_token()
    meant: int = call("POST", url, path, token, {**body, "dry_run": True})["objects"]
    if dry_run or not meant:
        click.echo(f"{meant} parked objects are meant. Nothing was changed.")
        return None
    confirmed(meant, question.format(meant), yes=yes)
    done: int = 0
    after: str | None = None
    bar, task = progress(verb, meant)
    with bar:
        while True:
            moved = call("POST", url, path, token, {**body, "after": after})
            done += moved["objects"]
            after = moved["next"]
            bar.update(task, completed=done)
            if after is None:
                return done
