"""``yurt diff``: what a ``yurt.toml``, or an app's tables, would change on a running control plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from webhook.cli.changes import show_changes, tables_in
from webhook.cli.client import ControlPlaneUnreachable, ask
from webhook.cli.options import admin_token, config_option, fail, failing, url_option
from webhook.cli.output import echo_json

DIFFERS, TROUBLE = 1, 2
"""Exit status, as of diff(1); 0: nothing differs."""


@click.command()
@config_option
@click.option(
    "--app",
    help="Compare with what was deployed as this app; --config then holds only tables of definitions.",
)
@url_option
@click.option("--json", "as_json", is_flag=True, help="The answer of POST /v1/definitions/compare.")
def command(config_path: Path, app: str | None, url: str, as_json: bool) -> None:
    """Show what would change if a control plane started with this yurt.toml. Changes nothing.

    Exits 0 where nothing differs, 1 where something does, 2 where that cannot be told.
    """
    definitions = tables_in(config_path) if app else _of_file(config_path)
    body = {"owner": f"deploy:{app}" if app else "file", "definitions": definitions}
    try:
        answer = ask("POST", url, "/v1/definitions/compare", admin_token(url), body)
    except ControlPlaneUnreachable as error:
        fail(str(error), status=TROUBLE)
    if as_json:
        echo_json(answer)
    else:
        show_changes(answer)
    raise SystemExit(DIFFERS if answer["changed"] else 0)


def _of_file(path: Path) -> dict[str, Any]:
    """The tables that a control plane would write that starts with a configuration."""
    from webhook.config_faults import ConfigError
    from webhook.config_file import load
    from webhook.definitions.assembly import sets_of, tables_of
    from workers.handlers.registry import options_model

    with failing(ConfigError):
        return tables_of(sets_of(load(path, options_model)))
