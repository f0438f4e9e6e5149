"""Where a worker may put its outputs, and on which condition.

Every output is written only if what is there is what was known to be there (``If-Match``), or nothing
(``If-None-Match: *``). A worker that finds something else asks again: the fencing token recorded on the object decides
whether that is older work, or its own whose answer was lost, to be replaced, or newer, in which case the lease is over.
"""

from __future__ import annotations

import asyncio

from webhook.config import Pipeline
from webhook.events import MAX_KEY_BYTES
from webhook.ledger.ledger import Ledger, LiveLease
from webhook.routing import Routes
from webhook.storage import Found, Store
from webhook.storage.presign import MAX_EXPIRES_SECONDS
from workers.protocol import OutputRequest, OutputsRequest, Upload

TOKEN = "yurt-token"  # noqa: S105 - a metadata name
"""Metadata of an output: the fencing token of the lease that wrote it."""
INPUT_ETAG = "yurt-input-etag"
"""Metadata of an output: ETag of the input that it was made from."""

_URL_GRACE_SECONDS = 300
"""A presigned URL outlives the lease, so that the lease and not the URL decides."""


class LeaseLost(Exception):
    """The lease is not live, or newer work was already published."""


class KeyTooLong(Exception):
    """The input's key leaves no room for an output's."""


class Publisher:
    """Presigns outputs of live leases."""

    def __init__(self, ledger: Ledger, routes: Routes, store: Store) -> None:
        self._ledger = ledger
        self._routes = routes
        self._store = store

    async def uploads(self, id: int, asked: OutputsRequest, worker_id: int) -> list[Upload]:
        """A presigned PUT for each output asked for. Raises LeaseLost, KeyTooLong, StoreError."""
        lease = await self._ledger.lease(id, asked.token, worker_id)
        if lease is None or lease.pipeline_id not in self._routes.pipelines:
            raise LeaseLost
        return list(await asyncio.gather(*(self._upload(lease, asked.etag, output) for output in asked.outputs)))

    async def _upload(self, lease: LiveLease, input_etag: str, output: OutputRequest) -> Upload:
        pipeline = self._routes.pipelines[lease.pipeline_id][1]
        key = output_key(pipeline, lease.key, output.name)
        headers = {
            "content-type": output.content_type,
            f"x-amz-meta-{TOKEN}": str(lease.token),
            f"x-amz-meta-{INPUT_ETAG}": _visible(input_etag),
            **await self._condition(lease, pipeline, key, output),
        }
        if output.cache_control:
            headers["cache-control"] = output.cache_control
        url = self._store.presigner.url(
            "PUT",
            pipeline.output.bucket,
            key,
            expires_seconds=url_seconds(pipeline),
            headers=headers,
        )
        return Upload(name=output.name, url=url, headers=headers)

    async def _condition(self, lease: LiveLease, pipeline: Pipeline, key: str, output: OutputRequest) -> dict[str, str]:
        etag = lease.published.get(output.name)
        if output.conflict:
            found = await self._store.head(pipeline.output.bucket, key)
            if found and token_of(found) > lease.token:
                raise LeaseLost
            etag = found.etag if found else None
        return {"if-match": f'"{etag}"'} if etag else {"if-none-match": "*"}


def url_seconds(pipeline: Pipeline) -> int:
    """How long a presigned URL for one lease lives."""
    return min(int(pipeline.lease_seconds) + _URL_GRACE_SECONDS, MAX_EXPIRES_SECONDS)


def output_key(pipeline: Pipeline, key: str, name: str) -> str:
    """Key of an output. Raises KeyTooLong."""
    full = f"{pipeline.output.prefix}{key}/{name}"
    if len(full.encode()) > MAX_KEY_BYTES:
        raise KeyTooLong(
            f"the result's key would have more than {MAX_KEY_BYTES} bytes: upload the file under a shorter name"
        )
    return full


def token_of(found: Found) -> int:
    """The fencing token that an output was written under; 0 where it carries none."""
    text = found.metadata.get(TOKEN, "")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _visible(etag: str) -> str:
    """ETags are visible ASCII; what a worker says is made so, since it becomes a header."""
    return "".join(c for c in etag if "!" <= c <= "~") or "-"
