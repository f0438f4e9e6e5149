"""``yurt setup``: shows and sets the bucket notifications on Tigris."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import click

from infra import tigris
from webhook.cli.options import config_option, fail, failing
from webhook.config import NO_KEYS, Config, ConfigError, Secrets
from webhook.config_file import load, secrets


@click.command()
@config_option
@click.option(
    "--url", "public_url", help="URL of the control plane that the store can reach; default: server.public_url."
)
@click.option("--yes", is_flag=True, help="Set them. Without it, the change is only shown.")
def command(config_path: Path, public_url: str | None, yes: bool) -> None:
    """Show, and with --yes set, the bucket notifications on Tigris.

    A bucket has one notification configuration: the current one is shown, and replaced. Needs the AWS_* variables and
    YURT_WEBHOOK_SECRETS, whose first secret is given to the store.
    """
    with failing(ConfigError, tigris.SetupError):
        from webhook.app import options_model

        config, credentials = load(config_path, options_model), secrets(config_path)
        plans = _plans(config, _webhook(config, public_url), _secret(credentials))
        store = _store(credentials)
        for plan in plans:
            _show(plan, tigris.read_back(plan.bucket, store))
        if not yes:
            click.echo("Nothing was changed. To set them: yurt setup --yes")
            return
        for plan in plans:
            _set(plan, store)


def _webhook(config: Config, public_url: str | None) -> str:
    base = (public_url or config.server.public_url).rstrip("/")
    if not base:
        fail("the store has to reach the control plane: set server.public_url in the configuration, or give --url")
    return f"{base}/v1/notifications/tigris"


def _secret(credentials: Secrets) -> tigris.Secret:
    configured = credentials.webhook_secrets
    if not configured:
        fail("YURT_WEBHOOK_SECRETS is not set: set it to a long random string, here and for yurt serve")
    user, colon, password = configured[0].partition(":")
    return tigris.Basic(user, password) if colon else tigris.Bearer(configured[0])


def _store(credentials: Secrets) -> tigris.TigrisEndpoint:
    access_key = credentials.aws_access_key_id.get_secret_value()
    secret_key = credentials.aws_secret_access_key.get_secret_value()
    if not (access_key and secret_key):
        fail(NO_KEYS)
    return tigris.TigrisEndpoint(
        credentials.aws_endpoint_url_s3.rstrip("/"), credentials.aws_region, access_key, secret_key
    )


def _plans(config: Config, webhook: str, secret: tigris.Secret) -> list[tigris.NotificationPlan]:
    prefixes: dict[str, list[str]] = {}
    for pipeline in config.pipelines.values():
        prefixes.setdefault(pipeline.input.bucket, []).append(pipeline.input.prefix)
    return [
        tigris.plan(bucket, webhook, tigris.key_filter(names), secret) for bucket, names in sorted(prefixes.items())
    ]


def _show(plan: tigris.NotificationPlan, current: tigris.CurrentNotifications | None) -> None:
    click.echo(f"Bucket {plan.bucket}")
    if current is None:
        click.echo("  now:   no notifications")
    else:
        click.echo(
            f"  now:   {current.url or 'no URL'}, filter {current.filter or 'none'}, auth {current.auth}, "
            f"enabled {current.enabled}"
        )
    click.echo(f"  then:  {json.dumps(plan.masked(), ensure_ascii=False)}")


def _set(plan: tigris.NotificationPlan, store: tigris.TigrisEndpoint) -> None:
    tigris.apply(plan, store)
    wrong: Iterable[str] = tigris.differences(plan, tigris.read_back(plan.bucket, store))
    if wrong:
        fail(
            f"bucket {plan.bucket}: the store took the notifications, but reads back others: {'; '.join(wrong)}",
            1,
        )
    click.echo(f"Bucket {plan.bucket}: set, and read back as planned.")
