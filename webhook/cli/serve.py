"""``yurt serve``: runs the control plane."""

from __future__ import annotations

from pathlib import Path

import click

from webhook.cli.options import config_option, failing, state_option
from workers import log, parent_death
from workers.settings import LogFormat


@click.command()
@config_option
@state_option
@click.option("--announce", is_flag=True, help="Print one line of JSON with the URL once the server listens.")
@click.option(
    "--log",
    "style",
    type=click.Choice(["json", "console"]),
    default="json",
    show_default=True,
    envvar="YURT_LOG",
    help="Format of the log lines on stderr.",
)
def command(config_path: Path, state: Path, announce: bool, style: LogFormat) -> None:
    """Run the control plane: receiver, lease API, autoscaler.

    Reads yurt.toml, and from the environment the store's AWS_* variables, DATABASE_URL, YURT_WEBHOOK_SECRETS and
    YURT_ADMIN_TOKEN. Without DATABASE_URL an embedded PostgreSQL is started.
    """
    from webhook.config_faults import ConfigError
    from webhook.config_file import load
    from webhook.ledger.database import LedgerUnavailable, LedgerUnusable
    from webhook.ledger.migrations import LedgerTooNew
    from webhook.ledger.postgres_programs import PostgresUnusable
    from webhook.secrets_file import secrets
    from webhook.server import run
    from workers.handlers.registry import options_model

    parent_death.watch()
    log.configure(style)
    with failing(ConfigError, LedgerUnavailable, LedgerUnusable, LedgerTooNew, PostgresUnusable):
        run(load(config_path, options_model), secrets(config_path), state, announce=announce)
