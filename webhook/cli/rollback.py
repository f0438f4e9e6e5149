"""``yurt rollback``: lets an earlier version of an app hold again."""

from __future__ import annotations

from urllib.parse import quote

import click

from webhook.cli.changes import show_changes
from webhook.cli.client import call
from webhook.cli.options import admin_token, url_option
from webhook.cli.output import echo, echo_json


@click.command()
@click.argument("app")
@click.argument("version", type=click.IntRange(1), required=False)
@url_option
@click.option("--note", default="", help="Why, for `yurt definitions show`.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="The answer of POST /v1/deployments/{app}/rollback.")
def command(app: str, version: int | None, url: str, note: str, dry_run: bool, as_json: bool) -> None:
    """Let an earlier VERSION of a deployed APP hold again; by default the one before the present one.

    It becomes the app's next version, so that a rollback can be rolled back. New leases get it at once; leases that run
    keep what they were given.
    """
    body = {"version": version, "note": note, "dry_run": dry_run}
    answer = call("POST", url, f"/v1/deployments/{quote(app, safe='')}/rollback", admin_token(url), body)
    if as_json:
        echo_json(answer)
        return
    show_changes(answer)
    if answer["changed"] and not dry_run:
        echo(f"{app} is at version {answer['version']}.")
