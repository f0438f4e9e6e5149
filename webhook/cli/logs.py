"""``yurt logs``: shows what the runs of a function or pipeline printed, and how they failed, as they happen."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

import click

from webhook.cli.client import ControlPlaneUnreachable, ask
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo, echo_json

_FOLLOW_SECONDS = 1.0
_MOST = 100
_OVERLAP = 1_000
"""Ids grow, but what ends at the same time shows in any order: so many before the newest are looked at again."""
_FIELDS = ("pipeline", "key", "ended_at", "outcome", "reason", "message", "retry", "log")


@click.command()
@click.argument("name")
@url_option
@click.option("-f", "--follow", is_flag=True, help="Go on with those to come, until Ctrl-C.")
@click.option("--last", type=click.IntRange(0, _MOST), default=10, show_default=True, help="How many to begin with.")
@click.option("--failed", is_flag=True, help="Only runs that failed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(name: str, url: str, follow: bool, last: int, failed: bool, as_json: bool) -> None:
    """Show what the last runs of the function or pipeline NAME printed, oldest first; of failures, also why.

    Kept are, for a week, the last 1,000 runs of each pipeline that printed something or failed: of each the last 16,000
    characters.
    """
    token = admin_token(url)
    try:
        runs = _runs(url, token, name, 0)
    except ControlPlaneUnreachable as error:
        fail(str(error), status=1)
    seen = {run["id"] for run in runs}
    chosen = [run for run in runs if not failed or run["outcome"] == "failed"]
    _show(chosen[-last:] if last else [], as_json)
    while follow:
        time.sleep(_FOLLOW_SECONDS)
        after = max(max(seen, default=0) - _OVERLAP, 0)
        try:
            runs = [run for run in _runs(url, token, name, after) if run["id"] not in seen]
        except ControlPlaneUnreachable as error:
            echo(f"waiting: {error}", err=True)
            continue
        seen = {id for id in seen if id > after} | {run["id"] for run in runs}
        _show([run for run in runs if not failed or run["outcome"] == "failed"], as_json)


def _runs(url: str, token: str, name: str, after: int) -> list[dict[str, Any]]:
    """The newest runs, oldest first. Raises ControlPlaneUnreachable."""
    query = urlencode({"pipeline": name, "after": after, "limit": _MOST})
    runs: list[dict[str, Any]] = ask("GET", url, f"/v1/logs?{query}", token)["runs"]
    return runs


def _show(runs: list[dict[str, Any]], as_json: bool) -> None:
    for run in runs:
        if as_json:
            echo_json({field: run[field] for field in _FIELDS})
            continue
        ended = f"{run['reason']}{', may be tried again' if run['retry'] else ''}" if run["reason"] else run["outcome"]
        echo(f"{run['ended_at'][:19]}  {run['pipeline']}  {run['key']}  {ended}")
        if run["message"]:
            echo(f"  {run['message']}")
        for line in run["log"].rstrip().splitlines():
            echo(f"    {line}")
