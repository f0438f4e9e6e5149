"""``yurt backfill``: orders sweeps of the input buckets, watches and cancels them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from webhook.cli.client import ControlPlaneRefused, ControlPlaneUnreachable, ask, call
from webhook.cli.duration import age, duration
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo, echo_json
from webhook.cli.terminal import EscapingConsole, plain, table

_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0
"""How long a control plane may be silent, for instance while it is restarted."""
_COUNTS = ("listed", "known", "found", "adopted", "missing", "orphaned", "removed")


def moment(text: str) -> datetime:
    """The type of an option: an age (``2h``, ``7d``) or a moment in ISO 8601, which is UTC where it names no zone."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) - timedelta(seconds=duration(text))
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


@click.command()
@click.argument("pipelines", metavar="[PIPELINE]…", nargs=-1)
@url_option
@click.option("--prefix", "prefixes", multiple=True, help="Only keys that begin so; repeatable.")
@click.option("--since", type=moment, help="Only objects written since then: 2h, 7d, 2026-05-15T10:30.")
@click.option(
    "--rate", type=click.FloatRange(0, 1000), help="Most pages of 1,000 keys a second, for each sweep; 0: unlimited."
)
@click.option("--full", is_flag=True, help="Look for deletions and orphaned outputs too.")
@click.option("--dry-run", is_flag=True, help="Compare, and record nothing.")
@click.option("--detach", is_flag=True, help="Order the sweeps and return at once.")
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on standard output.")
@click.option("--list", "listing", is_flag=True, help="Show earlier sweeps.")
@click.option(
    "--watch", "watched", type=click.IntRange(1), multiple=True, metavar="ID", help="Watch a sweep again; repeatable."
)
@click.option(
    "--cancel", "cancelled", type=click.IntRange(1), multiple=True, metavar="ID", help="Cancel a sweep; repeatable."
)
def command(
    url: str,
    pipelines: tuple[str, ...],
    prefixes: tuple[str, ...],
    since: datetime | None,
    rate: float | None,
    full: bool,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    listing: bool,
    watched: tuple[int, ...],
    cancelled: tuple[int, ...],
) -> None:
    """Have the control plane list the input buckets, and process objects that are new or changed.

    Without a PIPELINE, the input buckets of all pipelines. The sweeps go on in the control plane if this command ends.
    Exit status 0: every sweep succeeded; 1: a sweep failed or was cancelled; 130: interrupted.
    """
    token = admin_token(url)
    if sum(map(bool, (listing, watched, cancelled))) > 1:
        fail("--list, --watch and --cancel do not go together: give one of them")
    if listing:
        sweeps = call("GET", url, "/v1/sweeps", token)["sweeps"]
    elif cancelled:
        sweeps = [call("DELETE", url, f"/v1/sweeps/{id}", token) for id in cancelled]
    elif watched:
        with _telling_what_goes_on(watched):
            sweeps = _watch(url, token, [call("GET", url, f"/v1/sweeps/{id}", token) for id in watched])
    else:
        order: dict[str, object] = {
            "pipelines": pipelines,
            "prefixes": prefixes,
            "kind": "full" if full else "backfill",
            "since": since.isoformat() if since else None,
            "pages_per_second": rate,
            "dry_run": dry_run,
        }
        sweeps = _order(url, token, order, detach=detach)
    if as_json:
        echo_json({"sweeps": sweeps})
    else:
        _show(sweeps)
    if not listing and any(
        sweep["state"] in ("failed", "cancelled") and sweep["id"] not in cancelled for sweep in sweeps
    ):
        raise SystemExit(1)


def _order(url: str, token: str, order: Mapping[str, object], *, detach: bool) -> list[dict[str, Any]]:
    """Order sweeps, and watch them unless detached; their last known state."""
    ids: list[int] = []
    with _telling_what_goes_on(ids):
        sweeps: list[dict[str, Any]] = call("POST", url, "/v1/sweeps", token, order)["sweeps"]
        ids.extend(sweep["id"] for sweep in sweeps)
        if detach:
            return sweeps
        for sweep in sweeps:
            echo(f"Sweep {sweep['id']} was ordered: {sweep['pipeline']} {sweep['prefix']}", err=True)
        return _watch(url, token, sweeps)


@contextlib.contextmanager
def _telling_what_goes_on(ids: Sequence[int]) -> Iterator[None]:
    """On Ctrl-C, say that the sweeps go on and how to watch or cancel them.

    ``ids`` is empty where Ctrl-C came before the control plane's answer.
    """
    try:
        yield
    except KeyboardInterrupt:
        echo(_what_goes_on(ids), err=True)
        raise


def _what_goes_on(ids: Sequence[int]) -> str:
    if not ids:
        return "Interrupted before the control plane answered. To see whether it sweeps:  yurt backfill --list"
    watch, cancel = (" ".join(f"--{option} {id}" for id in ids) for option in ("watch", "cancel"))
    return (
        "The sweep goes on in the control plane.\n"
        f"To watch it again:  yurt backfill {watch}\n"
        f"To cancel it:       yurt backfill {cancel}"
    )


def _watch(url: str, token: str, sweeps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Show the progress of sweeps until all have ended; their final state."""
    console = EscapingConsole(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counts]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {sweep["id"]: bar.add_task(_title(sweep), total=None, counts="") for sweep in sweeps}
        while True:
            for sweep in sweeps:
                done = 1 if _has_ended(sweep) else None
                bar.update(tasks[sweep["id"]], counts=_counted(sweep), total=done, completed=done)
            if all(map(_has_ended, sweeps)):
                return sweeps
            time.sleep(_POLL_SECONDS)
            sweeps = [sweep if _has_ended(sweep) else _state_of(url, token, sweep["id"]) for sweep in sweeps]


def _state_of(url: str, token: str, id: int) -> dict[str, Any]:
    """Read the state of a sweep. Waits for a control plane that does not answer: the sweep goes on once it is back."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return ask("GET", url, f"/v1/sweeps/{id}", token)
        except ControlPlaneRefused as error:
            fail(str(error), status=1)
        except ControlPlaneUnreachable as error:
            if time.monotonic() > deadline:
                fail(f"{error}. The sweep goes on when the control plane is back", status=1)
            time.sleep(_POLL_SECONDS)


def _has_ended(sweep: dict[str, Any]) -> bool:
    return sweep["state"] not in ("wanted", "running")


def _title(sweep: dict[str, Any]) -> str:
    # Square brackets are markup to rich, and keys may hold them.
    return f"{sweep['pipeline']} {sweep['prefix']}".replace("[", r"\[")


def _counted(sweep: dict[str, Any]) -> str:
    counts = ", ".join(f"{sweep[name]:,} {name}" for name in _COUNTS if sweep[name] or name == "listed")
    return f"{counts}; failed {sweep['failures']} times".replace("[", r"\[") if sweep["failures"] else counts


def _show(sweeps: Sequence[dict[str, Any]]) -> None:
    # A column of zeros would take the width that the others need.
    counts = [name for name in _COUNTS if name == "listed" or any(sweep[name] for sweep in sweeps)]
    shown = table("Sweeps", "id", "pipeline", "prefix", "kind", "state", *counts, "ordered", numbers=("id", *counts))
    for sweep in sweeps:
        kind = f"{sweep['kind']}, dry run" if sweep["dry_run"] else sweep["kind"]
        cells = (str(sweep["id"]), sweep["pipeline"], sweep["prefix"], kind, sweep["state"])
        numbers = (f"{sweep[name]:,}" for name in counts)
        shown.add_row(*map(plain, cells), *numbers, f"{age(sweep['created_at'])} ago")
    console = EscapingConsole()
    console.print(shown)
    for sweep in sweeps:
        if sweep["error"]:
            console.print(plain(f"{sweep['id']}: {sweep['error']}"))
