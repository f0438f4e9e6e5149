"""``yurt logs``: shows what the runs of a function or pipeline printed, and how they failed, as they happen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import click

from webhook.cli.client import ControlPlaneRefused, ControlPlaneUnreachable, ask
from webhook.cli.options import admin_token, fail, url_option
from webhook.cli.output import echo, echo_json
from webhook.visible_text import escaped

_FOLLOW_SECONDS = 1.0
_MOST = 100
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
    characters. What the control plane parks by itself, as its worker was lost or no time was left, `yurt parked` shows.
    """
    logs = FollowedLogs(url, admin_token(url), name, failed=failed)
    try:
        newest = logs.newest()
        _show(newest[-last:] if last else [], as_json)
        while follow:
            time.sleep(_FOLLOW_SECONDS)
            show_new(logs, as_json)
    except ControlPlaneUnreachable as error:
        fail(str(error), status=1)


class FollowedLogs:
    """The logs of one pipeline's runs: each is given once."""

    def __init__(self, url: str, token: str, name: str, *, failed: bool, page: int = _MOST) -> None:
        self._url = url
        self._token = token
        self._query = {"pipeline": name, "failed": failed, "limit": page}
        self._page = page
        self._after = 0
        """Ids up to this one are known. It lags by a look: of runs that end at once, the larger id may show first."""
        self._known: set[int] = set()
        """Larger ids that were given."""

    def newest(self) -> list[dict[str, Any]]:
        """The newest runs, oldest first. Raises ControlPlaneUnreachable."""
        runs = self._asked(self._query)
        self._after = runs[0]["id"] - 1 if runs else 0
        self._known = {run["id"] for run in runs}
        return runs

    def new(self) -> Iterator[list[dict[str, Any]]]:
        """What came since the last look, page by page. Raises ControlPlaneUnreachable, and may then be asked again."""
        after, last_look = self._after, max(self._known, default=self._after)
        page = None
        while page is None or len(page) == self._page:
            page = self._asked({**self._query, "after": after})
            new = [run for run in page if run["id"] not in self._known]
            self._known |= {run["id"] for run in new}
            yield new
            after = page[-1]["id"] if page else after
        self._after = last_look
        self._known = {id for id in self._known if id > last_look}

    def _asked(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = ask("GET", self._url, f"/v1/logs?{urlencode(query)}", self._token)["runs"]
        return runs


def show_new(logs: FollowedLogs, as_json: bool) -> None:
    """Show what came since the last look. Raises ControlPlaneRefused."""
    try:
        for page in logs.new():
            _show(page, as_json)
    except ControlPlaneRefused:
        raise
    except ControlPlaneUnreachable as error:
        echo(f"waiting: {error}", err=True)


def _show(runs: list[dict[str, Any]], as_json: bool) -> None:
    for run in runs:
        if as_json:
            echo_json({field: run[field] for field in _FIELDS})
            continue
        ended = f"{run['reason']}{', may be tried again' if run['retry'] else ''}" if run["reason"] else run["outcome"]
        # A key may hold line breaks: it is one line nevertheless.
        echo(f"{run['ended_at'][:19]}  {run['pipeline']}  {escaped(run['key'], kept='')}  {ended}")
        for line in run["message"].splitlines():
            echo(f"  {line}")
        for line in run["log"].rstrip().splitlines():
            echo(f"    {line}")
