"""``yurt logs``: shows the failures of a function with what it printed, as they happen."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

import click

from webhook.cli.client import call
from webhook.cli.options import admin_token, url_option
from webhook.cli.output import echo, echo_json
from yurt.packing.definitions import CALLS

_FOLLOW_SECONDS = 1.0
_MOST = 100


@click.command()
@click.argument("name")
@url_option
@click.option("-f", "--follow", is_flag=True, help="Go on with those to come, until Ctrl-C.")
@click.option("--last", type=click.IntRange(0, _MOST), default=10, show_default=True, help="How many to begin with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(name: str, url: str, follow: bool, last: int, as_json: bool) -> None:
    """Show the objects and calls with which the function NAME has failed, oldest first, with their logs.

    The end of what a run printed is kept where it has failed for good; of others nothing is kept.
    """
    token = admin_token(url)
    shown: set[tuple[int, str]] = set()
    most = last
    while True:
        found = [failure for each in (name, name + CALLS) for failure in _failures(url, token, each)]
        new = [failure for failure in found if (failure["id"], failure["parked_at"]) not in shown]
        shown = {(failure["id"], failure["parked_at"]) for failure in found}
        new.sort(key=lambda failure: str(failure["parked_at"]))
        for failure in new[-most:] if most else []:
            _show(url, token, failure, as_json)
        if not follow:
            return
        most = _MOST
        time.sleep(_FOLLOW_SECONDS)


def _failures(url: str, token: str, pipeline: str) -> list[dict[str, Any]]:
    query = urlencode({"pipeline": pipeline, "limit": _MOST})
    objects: list[dict[str, Any]] = call("GET", url, f"/v1/parked?{query}", token)["objects"]
    return objects


def _show(url: str, token: str, failure: dict[str, Any], as_json: bool) -> None:
    details = call("GET", url, f"/v1/parked/{failure['id']}", token)
    if as_json:
        echo_json({field: details[field] for field in ("pipeline", "key", "parked_at", "reason", "message", "log")})
        return
    echo(f"{details['parked_at'][:19]}  {details['pipeline']}  {details['key']}  {details['reason']}")
    echo(f"  {details['message']}")
    for line in details["log"].rstrip().splitlines():
        echo(f"    {line}")
