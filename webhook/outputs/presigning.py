"""Presigns the PUTs of one lease's outputs, each with the condition under which it may be written.

An output is written only if the known one is still there (``If-Match``), or if there is none (``If-None-Match: *``). A
worker whose PUT is answered 412 asks again with ``conflict``: then the output that is there is looked at, and its
fencing token decides whether it is older, or the worker's own whose answer was lost, and may be replaced.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from webhook.config import Pipeline
from webhook.ledger.ledger import LiveLease
from webhook.outputs import keys
from webhook.outputs.conditions import Style
from webhook.outputs.fencing import require_own, require_replaceable
from webhook.storage import ObjectStore
from webhook.storage.late_effects import EFFECT_SECONDS
from webhook.storage.presign import MAX_EXPIRES_SECONDS
from workers.protocol import OutputRequest, OutputsRequest, Upload

log = structlog.get_logger()

_FIXED = {"content-disposition": "inline", "content-encoding": "identity"}
"""Signed as they are by default: no store refuses them where they are not signed, and they change what a browser does
with an output."""
_GET_GRACE_SECONDS = 300
"""A presigned GET outlives its lease by this, so that the lease and not the URL decides when work must stop."""


@dataclass(frozen=True, slots=True)
class LeaseOutputs:
    """What one live lease publishes, and how its output location takes conditions."""

    lease: LiveLease
    name: str
    """The pipeline's."""
    pipeline: Pipeline
    style: Style
    request: OutputsRequest


async def presign(store: ObjectStore, outputs: LeaseOutputs) -> list[Upload]:
    """A presigned PUT for each output asked for, in that order.

    Raises KeyTooLong, LeaseNotLive, ReplicaBehind, StoreError.
    """
    return list(await asyncio.gather(*(_upload(store, outputs, output) for output in outputs.request.outputs)))


async def _upload(store: ObjectStore, outputs: LeaseOutputs, output: OutputRequest) -> Upload:
    lease, pipeline, request = outputs.lease, outputs.pipeline, outputs.request
    key = _key(outputs, output.name)
    headers = {
        "content-type": output.content_type,
        **_FIXED,
        **keys.metadata_headers(outputs.name, lease.token, request.etag, request.modified),
        **await _condition(store, outputs, output, key),
    }
    if output.cache_control:
        headers["cache-control"] = output.cache_control
    # HTTP clients set the length themselves, so it is signed and not named: another one than announced is refused.
    url = store.put_presigner.url(
        "PUT", pipeline.output.bucket, key, expires_seconds=put_seconds(lease, pipeline),
        headers={**headers, "content-length": str(output.size)},
    )  # fmt: skip
    return Upload(name=output.name, url=url, headers=headers)


def _key(outputs: LeaseOutputs, name: str) -> str:
    # Checked also where it is staged: a key that is too long must be refused before the worker uploads.
    stable = keys.output_key(outputs.pipeline, outputs.lease.key, name)
    if outputs.style is Style.NONE:
        return keys.staged_key(outputs.pipeline, outputs.lease.key, outputs.lease.token, name)
    return stable


async def _condition(store: ObjectStore, outputs: LeaseOutputs, output: OutputRequest, key: str) -> dict[str, str]:
    if outputs.style is Style.NONE:
        return {}  # a staged key holds the token: no other lease writes to it
    # The ledger knows what the last result published: no question to the store in the common case.
    etag = outputs.lease.published.get(output.name)
    if output.conflict:
        etag = await _replaceable_etag(store, outputs, key)
    return {"if-match": outputs.style.match(etag)} if etag else {"if-none-match": "*"}


async def _replaceable_etag(store: ObjectStore, outputs: LeaseOutputs, key: str) -> str | None:
    """ETag of the output that is in the way and may be replaced; None where there is none."""
    head = await store.head(outputs.pipeline.output.bucket, key)
    if head is None:
        return None
    require_own(head, outputs.name)
    require_replaceable(head, outputs.lease, outputs.pipeline, outputs.request.etag, outputs.request.modified)
    if not keys.token_of(head.metadata):
        log.warning("output of another program replaced", key=key, modified=head.modified.isoformat())
    return head.etag


def put_seconds(lease: LiveLease, pipeline: Pipeline) -> int:
    """How long a presigned PUT is valid: shorter than the rest of its lease.

    The same bytes have the same ETag, so a worker that wakes up after its lease would find its ``If-Match`` true where
    earlier content came back. A PUT that has begun when the URL expires has the rest of the lease to take effect.
    """
    margin_seconds = min(EFFECT_SECONDS, pipeline.lease_seconds / 4)
    # Where the database's clock was set back a moment ago, more seems left than was ever granted.
    left_seconds = min(lease.left_seconds, pipeline.lease_seconds)
    return max(1, min(int(left_seconds - margin_seconds), MAX_EXPIRES_SECONDS))


def get_seconds(pipeline: Pipeline) -> int:
    """How long a presigned GET of one lease is valid: five minutes longer than the lease."""
    return min(int(pipeline.lease_seconds) + _GET_GRACE_SECONDS, MAX_EXPIRES_SECONDS)
