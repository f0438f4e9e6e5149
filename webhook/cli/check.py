"""``yurt check``: checks the configuration, database, buckets and credentials."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import click
from rich.console import Console

from webhook.check import Finding, findings
from webhook.cli.bucket_notifications import notification_findings
from webhook.cli.deployed import configured
from webhook.cli.options import config_option, deployed_option, state_option
from webhook.cli.terminal import EscapingConsole, finding
from webhook.config_faults import ConfigError
from webhook.provider_check import provider_findings
from webhook.secrets_file import secrets


@click.command()
@config_option
@state_option
@deployed_option
def command(config_path: Path, state: Path, deployed: bool, url: str) -> None:
    """Check the configuration, database, buckets and credentials.

    Writes, reads and deletes one small object below each output prefix. Exit status 1 if a check failed.
    """
    console = EscapingConsole()
    try:
        config, credentials = configured(config_path, deployed=deployed, url=url), secrets(config_path)
    except ConfigError as error:
        _print(console, Finding("configuration", "failed", str(error)))
        raise SystemExit(1) from None
    _print(
        console,
        Finding("configuration", "ok", f"{config_path}: {len(config.pipelines)} pipelines, {len(config.pools)} pools"),
    )
    failed = False
    checks = (
        asyncio.run(findings(config, credentials, state)),
        asyncio.run(provider_findings(config, credentials)),
        notification_findings(config, credentials),
    )
    for found in itertools.chain.from_iterable(checks):
        _print(console, found)
        failed |= found.level == "failed"
    raise SystemExit(1 if failed else 0)


def _print(console: Console, found: Finding) -> None:
    console.print(finding(found.level, found.subject, found.message, found.advice))
