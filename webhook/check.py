"""Whether a configuration can work here: each thing tried, and what to do where it failed."""

from __future__ import annotations

import secrets as random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import asyncpg

from webhook.config import Config, Place, Secrets
from webhook.ledger.database import CONNECT_SECONDS, GONE
from webhook.ledger.embedded import EmbeddedError, binaries
from webhook.storage import PreconditionFailed, Store, StoreError, open_store

_OLDEST_POSTGRES = 14


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried."""

    subject: str
    level: Literal["ok", "warning", "failed"]
    said: str
    advice: str = ""


async def findings(config: Config, secrets: Secrets, state: Path) -> list[Finding]:
    """Everything that can be tried from here."""
    found = [_webhook(config, secrets), _admin(secrets), await _database(secrets, state)]
    if not (secrets.aws_access_key_id.get_secret_value() and secrets.aws_secret_access_key.get_secret_value()):
        missing = Finding(
            "store credentials", "failed", "AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set",
            "Make an access key that may read the inputs and read, write and delete the outputs.",
        )  # fmt: skip
        return [*found, missing]
    store = open_store(secrets)
    try:
        return [*found, *[finding async for finding in _buckets(config, store)]]
    finally:
        await store.aclose()


def _webhook(config: Config, secrets: Secrets) -> Finding:
    if config.server.open_webhook:
        return Finding(
            "notifications", "warning", "taken without a secret",
            "Anybody who reaches the URL can cause work. Set server.open_webhook = false and YURT_WEBHOOK_SECRETS.",
        )  # fmt: skip
    if not secrets.webhook_secrets:
        return Finding(
            "notifications", "failed", "YURT_WEBHOOK_SECRETS is not set",
            "Set it to a long random string, the same that `yurt setup` gives to the store.",
        )  # fmt: skip
    if min(map(len, secrets.webhook_secrets)) < 16:
        return Finding("notifications", "warning", "a secret has fewer than 16 characters", "Use a long random string.")
    return Finding("notifications", "ok", f"{len(secrets.webhook_secrets)} valid secrets")


def _admin(secrets: Secrets) -> Finding:
    if secrets.yurt_admin_token.get_secret_value():
        return Finding("admin token", "ok", "set")
    return Finding(
        "admin token",
        "warning",
        "YURT_ADMIN_TOKEN is not set",
        "`yurt status` and `yurt invite` need it, here and there.",
    )


async def _database(secrets: Secrets, state: Path) -> Finding:
    dsn = secrets.database_url.get_secret_value()
    if not dsn:
        return _embedded(state)
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
    except (*GONE, asyncpg.PostgresError, ValueError) as error:
        # The message of a malformed DSN may repeat it, password and all.
        said = str(error) if isinstance(error, asyncpg.PostgresError) else type(error).__name__
        return Finding(
            "database", "failed", f"DATABASE_URL: {said}",
            "It is of the form postgresql://user:password@host:5432/name. Is the server up, and reachable from here?",
        )  # fmt: skip
    try:
        major = connection.get_server_version().major
        may = await connection.fetchval("select has_schema_privilege(current_schema(), 'CREATE')")
    finally:
        await connection.close()
    if major < _OLDEST_POSTGRES:
        return Finding("database", "failed", f"PostgreSQL {major}", f"Use PostgreSQL {_OLDEST_POSTGRES} or newer.")
    if not may:
        return Finding("database", "failed", "the user may not create tables", "grant create on schema public to it.")
    return Finding("database", "ok", f"PostgreSQL {major}")


def _embedded(state: Path) -> Finding:
    try:
        binaries()
    except EmbeddedError as error:
        return Finding("database", "failed", str(error))
    return Finding(
        "database", "ok", f"embedded, in {state / 'postgres'}",
        "Good for one machine. For several replicas, or to keep the ledger elsewhere, set DATABASE_URL.",
    )  # fmt: skip


async def _buckets(config: Config, store: Store) -> AsyncIterator[Finding]:
    for bucket in sorted({pipeline.input.bucket for pipeline in config.pipelines.values()}):
        try:
            await store.reach(bucket)
        except StoreError as error:
            yield Finding(
                f"input {bucket}", "failed", str(error), "Check AWS_ENDPOINT_URL_S3, the bucket's name and the keys."
            )
        else:
            yield Finding(f"input {bucket}", "ok", "can be read")
    places = {str(pipeline.output): pipeline.output for pipeline in config.pipelines.values()}
    for place in places.values():
        yield await _output(place, store)


async def _output(place: Place, store: Store) -> Finding:
    """Write, overwrite on a condition that must fail, delete."""
    key = f"{place.prefix}.yurt-check-{random.token_hex(8)}"
    try:
        etag = await store.put_new(place.bucket, key, b"yurt check\n")
    except (StoreError, PreconditionFailed) as error:
        return Finding(f"output {place}", "failed", str(error), "The keys must be allowed to write there.")
    try:
        await store.put_new(place.bucket, key, b"yurt check again\n")
    except PreconditionFailed:
        finding = Finding(f"output {place}", "ok", "can be written, and conditions are honoured")
    except StoreError as error:
        finding = Finding(f"output {place}", "failed", str(error))
    else:
        etag = ""
        finding = Finding(
            f"output {place}", "failed", "the store ignores If-None-Match: a slow worker could overwrite newer results",
            "Use a store that honours conditional writes: Tigris, AWS S3, MinIO, R2.",
        )  # fmt: skip
    try:
        await store.delete(place.bucket, key, etag)
    except (StoreError, PreconditionFailed) as error:
        return Finding(
            f"output {place}", "warning", f"{key} could not be deleted: {error}", "Delete it, and allow deletes."
        )
    return finding
