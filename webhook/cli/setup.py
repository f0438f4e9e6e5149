"""``yurt setup``: shows and sets what buckets need: notifications on Tigris, CORS, a rule for abandoned uploads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from infra import cors, lifecycle, tigris
from webhook.cli.bucket_notifications import (
    notification_plans,
    notification_secret,
    probe_from_here,
    tigris_endpoint,
)
from webhook.cli.options import config_option, fail, failing
from webhook.cli.output import echo
from webhook.config import Config
from webhook.config_faults import ConfigError
from webhook.config_file import load
from webhook.secret_settings import Secrets
from webhook.secrets_file import secrets


@click.command()
@config_option
@click.option(
    "--url", "public_url", help="URL of the control plane that the store can reach; default: server.public_url."
)
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Also let web pages of this origin upload to inputs and read outputs by presigned URLs; repeatable.",
)
@click.option("--yes", is_flag=True, help="Set them. Without it, the change is only shown.")
def command(config_path: Path, public_url: str | None, cors_origins: tuple[str, ...], yes: bool) -> None:
    """Show, and with --yes set, the bucket notifications on Tigris, and what uploads need.

    A bucket has one notification configuration: the current one is shown, and replaced. With --cors-origin a CORS rule
    is added to those that the buckets have; without it CORS is shown and left as it is. Parts of multipart uploads that
    are never completed are removed by a lifecycle rule, where the store has such rules. Needs the AWS_* variables and
    YURT_WEBHOOK_SECRETS, whose first secret is given to the store.
    """
    with failing(ConfigError, tigris.SetupError, cors.CorsError):
        from workers.handlers.registry import options_model

        config, credentials = load(config_path, options_model), secrets(config_path)
        base = public_url or config.server.public_url
        if not base:
            fail("the store has to reach the control plane: set server.public_url in the configuration, or give --url")
        plans = notification_plans(config, base, notification_secret(credentials))
        store = tigris_endpoint(credentials)
        for plan in plans:
            _show(plan, tigris.read_back(plan.bucket, store))
        s3 = cors.cors_client(store)
        rules = cors.wanted_rules(config, cors_origins).items() if cors_origins else ()
        cors_plans = [cors.plan_cors(s3, bucket, rule) for bucket, rule in rules]
        for cors_plan in cors_plans:
            _show_cors(cors_plan)
        if not cors_origins:
            _show_present_cors(s3, config)
        lifecycle_plans = [found for bucket in lifecycle.input_buckets(config) if (found := _lifecycle(s3, bucket))]
        _probe(base, credentials)
        if not yes:
            echo("Nothing was changed. To set this, run the same command with --yes")
            return
        for plan in plans:
            _set(plan, store)
        for cors_plan in cors_plans:
            cors.apply_cors(s3, cors_plan)
            echo(f"Bucket {cors_plan.bucket}: CORS rules set, and read back as planned.")
        for lifecycle_plan in lifecycle_plans:
            _set_lifecycle(s3, lifecycle_plan)


def _probe(base: str, credentials: Secrets) -> None:
    """Have the control plane take the secret that the store gets. Ends the program where it refuses that."""
    result = probe_from_here(base, credentials)
    if result.outcome == "refused":
        fail(
            f"{result.message}: it was started with other YURT_WEBHOOK_SECRETS than this command has. It would refuse "
            "every notification, so nothing was changed. Use the same secrets for both",
            status=1,
        )
    echo(f"Control plane: {result.message}.")
    if result.outcome != "taken":
        echo("  Whether it takes the store's notifications could not be tried from here: yurt check tries again.")


def _show(plan: tigris.NotificationPlan, current: tigris.CurrentNotifications | None) -> None:
    echo(f"Bucket {plan.bucket}")
    if current is None:
        echo("  now:   no notifications")
    else:
        echo(
            f"  now:   {current.url or 'no URL'}, filter {current.filter or 'none'}, auth {current.auth}, "
            f"enabled {current.enabled}"
        )
    echo(f"  then:  {json.dumps(plan.masked(), ensure_ascii=False)}")


def _show_cors(plan: cors.CorsPlan) -> None:
    echo(f"Bucket {plan.bucket}, CORS rules{' (as they are)' if plan.is_set else ''}")
    for line in plan.describe():
        echo(f"  {line}")


def _show_present_cors(s3: Any, config: Config) -> None:
    """Show which pages may use the buckets now. A store that does not say is no error: nothing is to be set."""
    for bucket in cors.wanted_rules(config, ()):
        try:
            rules = cors.present_rules(s3, bucket)
        except cors.CorsError:
            continue
        shown = "; ".join(rule.describe() for rule in rules) or "none: no web page may use it"
        echo(f"Bucket {bucket}, present CORS rules: {shown}")


def _lifecycle(s3: Any, bucket: str) -> lifecycle.LifecyclePlan | None:
    """Show what becomes of abandoned uploads. None: nothing is to be set, or the store has no such rules."""
    try:
        plan = lifecycle.plan_lifecycle(s3, bucket)
    except lifecycle.LifecycleError as error:
        echo(f"Bucket {bucket}, abandoned uploads: {error}")
        return None
    echo(f"Bucket {bucket}: {plan.describe()}{' (as it is)' if plan.is_set else ''}")
    return None if plan.is_set else plan


def _set_lifecycle(s3: Any, plan: lifecycle.LifecyclePlan) -> None:
    try:
        lifecycle.apply_lifecycle(s3, plan)
    except lifecycle.LifecycleError as error:
        echo(f"Bucket {plan.bucket}, abandoned uploads: {error}")
    else:
        echo(f"Bucket {plan.bucket}: the lifecycle rule is set, and was read back.")


def _set(plan: tigris.NotificationPlan, store: tigris.TigrisEndpoint) -> None:
    tigris.apply(plan, store)
    wrong: Iterable[str] = tigris.differences(plan, tigris.read_back(plan.bucket, store))
    if wrong:
        fail(
            f"bucket {plan.bucket}: the store took the notifications, but reads back others: {'; '.join(wrong)}",
            1,
        )
    echo(f"Bucket {plan.bucket}: set, and read back as planned.")
