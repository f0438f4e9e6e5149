"""Checks whether a configuration works on this machine (``yurt check``), with advice on each failure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from webhook.config import Config, Pipeline, Place
from webhook.config_faults import ConfigError
from webhook.ledger.database import (
    LedgerUnavailable,
    LedgerUnusable,
    connect,
    disconnect,
    ledger_errors,
    starting,
)
from webhook.ledger.dsn import DsnError, parse
from webhook.ledger.migrations import check_server, check_writes
from webhook.ledger.pooler import TRANSACTION_MODE, in_transaction_mode
from webhook.ledger.postgres_programs import PostgresUnusable, binaries
from webhook.outputs import unsigned_headers
from webhook.outputs.conditions import Probed, Style, probe, refusal
from webhook.outputs.keys import new_control_key
from webhook.secret_settings import Secrets
from webhook.state_folder import check_folders
from webhook.storage import ObjectStore, PreconditionFailed, StoreError, open_store
from webhook.transfer_check import TransferFailed, lacks_bucket_host, try_transfer
from workers.outgoing import ALLOW_HTTP, sends_in_clear
from workers.sandbox.child import jail

_TRANSFER_ADVICE = (
    "Workers would fail alike. For SignatureDoesNotMatch: a proxy before the store changes the Host or the path, or "
    "the secret key is wrong. If the store takes buckets in its host's name only, set YURT_S3_ADDRESSING=virtual."
)
_NO_WORK = "As it is, Yurt hands out no work for it."
_CLOCK_SECONDS = 3.0
"""Difference of clocks that is not reported: HTTP gives whole seconds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check."""

    subject: str
    level: Literal["ok", "warning", "failed"]
    message: str
    advice: str = ""


async def findings(config: Config, secrets: Secrets, state: Path) -> list[Finding]:
    """Run all checks."""
    results = [
        _webhook(config, secrets),
        _admin(secrets),
        *_public_url(config),
        await _database(secrets, state),
        *_folders(config, secrets, state),
        *_jail(config),
    ]
    if not (secrets.aws_access_key_id.get_secret_value() and secrets.aws_secret_access_key.get_secret_value()):
        missing = Finding(
            "store credentials", "failed", "AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set",
            "Make an access key that may read the inputs and read, write and delete the outputs, and set both in the "
            "environment or in yurt.secrets.",
        )  # fmt: skip
        return [*results, missing]
    try:
        store = open_store(secrets)
    except ConfigError as error:
        return [*results, Finding("store", "failed", str(error))]
    try:
        return [*results, *_addressing(config, store), *[finding async for finding in _buckets(config, store)]]
    finally:
        await store.aclose()


def _jail(config: Config) -> list[Finding]:
    """Whether handlers of this machine's workers are jailed."""
    local = {name for name in config.pools if config.mints_here(name)}
    modes = {pipeline.sandbox.mode for pipeline in config.pipelines.values() if pipeline.pool in local}
    if not modes - {"off"}:
        return []
    if not (why := jail.support().missing):
        return [Finding("sandbox", "ok", "handlers are jailed on this machine")]
    return [
        Finding(
            "sandbox",
            "failed" if "require" in modes else "warning",
            f"handlers are not jailed on this machine: {why}",
            "A file that takes over a decoder reaches what the worker's user reaches. Use a newer kernel, or a "
            "container runtime that lets landlock through.",
        )
    ]


def _webhook(config: Config, secrets: Secrets) -> Finding:
    if config.server.open_webhook:
        return Finding(
            "notifications", "warning", "taken without a secret",
            "Any sender that reaches the URL can cause work. Set server.open_webhook = false and YURT_WEBHOOK_SECRETS.",
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


def _public_url(config: Config) -> list[Finding]:
    url = config.server.public_url
    if not sends_in_clear(url):
        return []
    return [
        Finding(
            "public URL", "warning", f"{url} is plain http://: tokens and the store's secret can be read on the way",
            f"Put a proxy that terminates TLS in front and use https://. As it is, workers need {ALLOW_HTTP}=1.",
        )
    ]  # fmt: skip


async def _database(secrets: Secrets, state: Path) -> Finding:
    dsn, direct = secrets.database_url.get_secret_value(), secrets.direct_database_url.get_secret_value()
    if not dsn:
        return _embedded(state)
    try:
        address = parse(dsn)
        major = await _connected(direct or dsn)
        if not direct and await in_transaction_mode(dsn):
            return Finding("database", "failed", TRANSACTION_MODE, "The pooler's provider shows both addresses.")
        if direct:
            await disconnect(await connect(dsn, pooled=True))
    except (DsnError, LedgerUnavailable, LedgerUnusable) as error:
        return Finding(
            "database", "failed", str(error),
            "DATABASE_URL is of the form postgresql://user:password@host:5432/name. Is the server up, and reachable "
            "from here?",
        )  # fmt: skip
    if address.left_out:
        message = f"PostgreSQL {major}; DATABASE_URL: {', '.join(address.left_out)} without effect here"
        return Finding("database", "warning", message)
    return Finding("database", "ok", f"PostgreSQL {major}{', behind a pooler' if direct else ''}")


async def _connected(dsn: str) -> int:
    """The server's version. Raises LedgerUnavailable, LedgerUnusable."""
    with starting():
        connection = await connect(dsn, pooled=True)
        try:
            with ledger_errors():
                await check_server(connection)
                await check_writes(connection)
            return connection.get_server_version().major
        finally:
            await disconnect(connection)


def _folders(config: Config, secrets: Secrets, state: Path) -> list[Finding]:
    try:
        check_folders(config, state, embedded=not secrets.database_url.get_secret_value())
    except ConfigError as error:
        return [Finding("folders", "failed", str(error))]
    return []


def _embedded(state: Path) -> Finding:
    try:
        binaries()
    except PostgresUnusable as error:
        return Finding("database", "failed", str(error))
    return Finding(
        "database", "ok", f"embedded, in {state / 'postgres'}",
        "Good for one machine. For several replicas, or to keep the ledger elsewhere, set DATABASE_URL.",
    )  # fmt: skip


async def _buckets(config: Config, store: ObjectStore) -> AsyncIterator[Finding]:
    inputs = {str(pipeline.input): pipeline.input for pipeline in config.pipelines.values()}
    clock: Finding | None = None
    for place in inputs.values():
        try:
            await store.check_bucket(place.bucket)
        except StoreError as error:
            advice = "Check AWS_ENDPOINT_URL_S3, the bucket's name and the keys."
            yield Finding(f"input {place}", "failed", str(error), await _advice(store, place.bucket, advice))
        else:
            yield await _listing(place, store)
            clock = clock or await _clock(place.bucket, store)
    if clock:
        yield clock
    for place in {str(pipeline.output): pipeline.output for pipeline in config.pipelines.values()}.values():
        yield await _output([pipeline for pipeline in config.pipelines.values() if pipeline.output == place], store)
    for pipeline in config.pipelines.values():
        if pipeline.trash:
            yield await _trash(pipeline.output, pipeline.trash, store)


def _addressing(config: Config, store: ObjectStore) -> Iterator[Finding]:
    """Show the URL of a bucket, which tells whether its name stands in the host or in the path."""
    for pipeline in [*config.pipelines.values()][:1]:
        origin, path = store.presigner.address(pipeline.input.bucket, "…")
        style = "path style" if path.count("/") > 1 else "virtual-hosted"
        yield Finding("store", "ok", f"{style}: {origin}{unquote(path)}")


async def _advice(store: ObjectStore, bucket: str, otherwise: str) -> str:
    if await lacks_bucket_host(store, bucket):
        return (
            f"The host of the bucket {bucket} does not resolve, and the endpoint's own does: "
            "set YURT_S3_ADDRESSING=path, so that the bucket's name stands in the path."
        )
    return otherwise


async def _listing(place: Place, store: ObjectStore) -> Finding:
    """Check that the store lists a place, and whether it can list only what changed lately."""
    subject = f"input {place}"
    try:
        if not (await store.list_page(place.bucket, place.prefix, most=1)).objects:
            return Finding(subject, "ok", "can be read; it is empty, so whether it lists by time is not known")
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        later = await store.list_page(place.bucket, place.prefix, most=1, modified_since=tomorrow)
    except StoreError as error:
        return Finding(subject, "failed", str(error), "The keys must be allowed to list the bucket.")
    if later.objects:
        return Finding(
            subject, "warning", "can be read; the store ignores X-Tigris-Query, so it cannot list what changed lately",
            "Events that it loses are found by full sweeps only: set sweep.full_hours to how long you would wait.",
        )  # fmt: skip
    return Finding(subject, "ok", "can be read; frequent sweeps list only what changed lately (X-Tigris-Query)")


async def _clock(bucket: str, store: ObjectStore) -> Finding:
    try:
        ahead = (await store.clock_offset(bucket)).total_seconds()
    except StoreError as error:
        return Finding("clock", "warning", str(error))
    if abs(ahead) <= _CLOCK_SECONDS:
        return Finding("clock", "ok", "the store's and this machine's agree")
    return Finding(
        "clock", "warning", f"the store's is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's",
        "Let both follow a time server: signatures, and what is believed of times, rest on it.",
    )  # fmt: skip


async def _output(pipelines: Sequence[Pipeline], store: ObjectStore) -> Finding:
    """Check an output location: try each condition on an object of Yurt's own."""
    place = pipelines[0].output
    subject = f"output {place}"
    try:
        probed = await probe(store, place)
        await try_transfer(store, place)
        taken = (await unsigned_headers.probe(store, place)).taken
    except StoreError as error:
        advice = "The keys must be allowed to read, write and delete there."
        return Finding(subject, "failed", str(error), await _advice(store, place.bucket, advice))
    except TransferFailed as error:
        return Finding(subject, "failed", str(error), await _advice(store, place.bucket, _TRANSFER_ADVICE))
    refused = next(filter(None, (unsigned_headers.refusal(pipeline, taken) for pipeline in pipelines)), "")
    if refused:
        return Finding(subject, "failed", refused, _NO_WORK)
    return await _conditions(pipelines, probed, store)


async def _conditions(pipelines: Sequence[Pipeline], probed: Probed, store: ObjectStore) -> Finding:
    """Compare the conditions that an output location's store honours with the configuration."""
    place = pipelines[0].output
    subject = f"output {place}"
    given = {pipeline.conditions for pipeline in pipelines} - {"probe", "none", str(probed.style)}
    if given:
        return Finding(
            subject, "failed",
            f"{probed.explanation}; but the configuration says conditions = {', '.join(sorted(given))}",
            f'Set conditions = "{probed.style}", or leave it out.',
        )  # fmt: skip
    if probed.style is not Style.NONE:
        return Finding(subject, "ok", f"can be written, and conditions are honoured: {probed.explanation}")
    if any(pipeline.unconditional == "refuse" for pipeline in pipelines):
        return Finding(subject, "failed", refusal(place, probed), _NO_WORK)
    return await _staging(place, probed, store)


async def _staging(place: Place, probed: Probed, store: ObjectStore) -> Finding:
    message = f"conditions are not honoured ({probed.explanation}): outputs are put aside and copied"
    try:
        await _try_copy(place, place, store)
    except (StoreError, PreconditionFailed) as error:
        return Finding(f"output {place}", "failed", f"{message}, but copying fails: {error}", "Allow CopyObject there.")
    return Finding(f"output {place}", "ok", message)


async def _trash(output: Place, place: Place, store: ObjectStore) -> Finding:
    try:
        await _try_copy(output, place, store)
    except (StoreError, PreconditionFailed) as error:
        return Finding(f"trash {place}", "failed", str(error), "The keys must be allowed to copy to it.")
    return Finding(f"trash {place}", "ok", "can be copied to")


async def _try_copy(source: Place, target: Place, store: ObjectStore) -> None:
    """Put an object, copy it, delete both. Raises StoreError, PreconditionFailed."""
    first, second = (new_control_key(place, "check") for place in (source, target))
    etag = await store.put_new(source.bucket, first, b"yurt check\n")
    try:
        await store.copy(source.bucket, first, target.bucket, second, etag)
    finally:
        await store.delete(source.bucket, first, "")
        await store.delete(target.bucket, second, "")
