"""What the notifications of the input buckets are to be and what they are, for ``yurt setup`` and ``yurt check``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from infra import tigris
from webhook.check import Finding
from webhook.cli.client import ControlPlaneUnreachable, ask
from webhook.config import Config
from webhook.config_faults import NO_KEYS
from webhook.diagnosis import diagnose
from webhook.local_url import local_url
from webhook.notification_probe import ProbeResult, notification_url, probe_notifications
from webhook.secret_settings import Secrets


def notification_secret(credentials: Secrets) -> tigris.Secret:
    """What the store is to show: the first secret. Raises SetupError where there is none."""
    if not credentials.webhook_secrets:
        raise tigris.SetupError(
            "YURT_WEBHOOK_SECRETS is not set: set it to a long random string, here and for yurt serve, or have "
            "`yurt init` write one"
        )
    first = credentials.webhook_secrets[0]
    user, colon, password = first.partition(":")
    return tigris.Basic(user, password) if colon else tigris.Bearer(first)


def tigris_endpoint(credentials: Secrets) -> tigris.TigrisEndpoint:
    """The store with its keys. Raises SetupError where they are not set."""
    access_key = credentials.aws_access_key_id.get_secret_value()
    secret_key = credentials.aws_secret_access_key.get_secret_value()
    if not (access_key and secret_key):
        raise tigris.SetupError(NO_KEYS)
    return tigris.TigrisEndpoint(
        credentials.aws_endpoint_url_s3.rstrip("/"), credentials.aws_region, access_key, secret_key
    )


def notification_plans(config: Config, base: str, secret: tigris.Secret) -> list[tigris.NotificationPlan]:
    """Plan each input bucket's notifications to the control plane at ``base``. Raises SetupError."""
    prefixes: dict[str, list[str]] = {}
    for pipeline in config.pipelines.values():
        prefixes.setdefault(pipeline.input.bucket, []).append(pipeline.input.prefix)
    return [
        tigris.plan(bucket, notification_url(base), tigris.key_filter(names), secret)
        for bucket, names in sorted(prefixes.items())
    ]


def probe_from_here(base: str, credentials: Secrets) -> ProbeResult:
    """Send the control plane an empty notification with the secret that the store gets."""
    return asyncio.run(probe_notifications(base, next(iter(credentials.webhook_secrets), "")))


def notification_findings(config: Config, credentials: Secrets) -> Iterator[Finding]:
    """Check the way of a notification: the bucket's settings, the control plane's answer, what it refused lately."""
    yield from _bucket_findings(config, credentials)
    server = config.server
    if not (server.public_url or os.environ.get("YURT_URL") or server.port):
        return  # it listens on any free port, which only it knows
    base = server.public_url or os.environ.get("YURT_URL") or local_url(server.host, server.port)
    result = probe_from_here(base, credentials)
    yield _probe_finding(config, result)
    token = credentials.yurt_admin_token.get_secret_value()
    if result.outcome in ("taken", "refused") and token:
        yield from _running_findings(base, token)


def _bucket_findings(config: Config, credentials: Secrets) -> Iterator[Finding]:
    """Compare each bucket's notifications with ours. Only Tigris, and the local bucket, can tell them."""
    if not config.server.public_url:
        yield Finding(
            "bucket notifications", "warning", "server.public_url is not set, so no store can reach this control plane",
            "Set it to a URL that the store reaches; for a laptop, that of a tunnel. Then: yurt setup --yes",
        )  # fmt: skip
        return
    try:
        store = tigris_endpoint(credentials)
        plans = notification_plans(config, config.server.public_url, notification_secret(credentials))
    except tigris.SetupError:
        return  # other checks tell what is missing
    for plan in plans:
        yield _bucket_finding(plan, store)


def _bucket_finding(plan: tigris.NotificationPlan, store: tigris.TigrisEndpoint) -> Finding:
    subject = f"notifications of {plan.bucket}"
    try:
        wrong = tigris.differences(plan, tigris.read_back(plan.bucket, store))
    except tigris.SetupError as error:
        host = urlsplit(store.endpoint).hostname or ""
        is_tigris = host.endswith(("tigris.dev", "storage.dev"))
        return Finding(subject, "failed" if is_tigris else "warning", f"not known: {error}")
    if wrong:
        return Finding(subject, "failed", "; ".join(wrong), "To set them: yurt setup --yes")
    return Finding(subject, "ok", f"sent to {plan.url}; that the secret is the same cannot be seen")


def _probe_finding(config: Config, result: ProbeResult) -> Finding:
    match result.outcome:
        case "taken":
            return Finding("control plane", "ok", result.message)
        case "refused":
            return Finding(
                "control plane", "failed", result.message,
                "It was started with other YURT_WEBHOOK_SECRETS than this command has: use the same, and restart it.",
            )  # fmt: skip
        case "stranger":
            return Finding(
                "control plane", "failed", result.message,
                "Check server.public_url, its path, and what the proxy passes on.",
            )  # fmt: skip
        case "unreachable":
            hint = " A public URL may not be reachable from its own network." if config.server.public_url else ""
            return Finding("control plane", "warning", result.message, f"Is `yurt serve` running?{hint}")


def _running_findings(base: str, token: str) -> Iterator[Finding]:
    """What the running control plane tells of itself."""
    try:
        status = ask("GET", base, "/v1/status", token)
    except ControlPlaneUnreachable as error:
        yield Finding("control plane", "warning", str(error))
        return
    for found in diagnose(status):
        yield Finding(found.subject, "warning", found.sentence, found.advice)
