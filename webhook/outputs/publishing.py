"""Where a worker may put its outputs, and on which condition.

Every output is written only if what is there is what was known to be there (``If-Match``), or nothing
(``If-None-Match: *``). A worker that finds something else asks again: the fencing token recorded on the object decides
whether that is older work, or its own whose answer was lost, to be replaced, or newer, in which case the lease is over.
A lease is over as well where what is there was made from newer content: then a region served it an old one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import structlog

from webhook.config import RESERVED_PREFIX, Pipeline
from webhook.events import MAX_KEY_BYTES, utc
from webhook.ledger.ledger import Ledger, LiveLease
from webhook.outputs.conditions import Conditions, Style
from webhook.pipelines import Pipelines
from webhook.storage import ObjectHead, ObjectStore
from webhook.storage.presign import MAX_EXPIRES_SECONDS
from workers.protocol import OutputRequest, OutputsRequest, Upload

log = structlog.get_logger()

TOKEN = "yurt-token"  # noqa: S105 - a metadata name
"""Metadata of an output: the fencing token of the lease that wrote it."""
INPUT_ETAG = "yurt-input-etag"
"""Metadata of an output: ETag of the input that it was made from."""
INPUT_MODIFIED = "yurt-input-modified"
"""Metadata of an output: Last-Modified of that input, ISO 8601."""

_URL_GRACE_SECONDS = 300
"""A presigned GET outlives the lease, so that the lease and not the URL decides."""
_EFFECT_SECONDS = 20.0
"""Within this a store carries out what it has begun to take in, or drops it."""


class LeaseNotLive(Exception):
    """The lease is not live, or newer work was already published."""


class Unconditional(Exception):
    """The output's store does not honour conditions, and the pipeline does not say what to do then."""


class ReplicaBehind(Exception):
    """There is a result of newer content than what was fetched: a region of the input's store is behind."""


class KeyTooLong(Exception):
    """The input's key leaves no room for an output's."""


class OutputPresigner:
    """Presigns outputs of live leases."""

    def __init__(
        self,
        ledger: Ledger,
        routes: Pipelines,
        store: ObjectStore,
        conditions: Conditions,
        note: Callable[[LiveLease, Pipeline, Iterable[str]], None],
    ) -> None:
        """``note`` is told of each lease that asks, and under which names it is about to publish."""
        self._ledger = ledger
        self._routes = routes
        self._store = store
        self._conditions = conditions
        self._note = note

    async def uploads(self, id: int, asked: OutputsRequest, worker_id: int) -> list[Upload]:
        """A presigned PUT for each output asked for.

        Raises LeaseLost, KeyTooLong, ReplicaBehind, Unconditional, StoreError.
        """
        lease = await self._ledger.publishing(id, asked.token, worker_id)
        if lease is None or lease.pipeline_id not in self._routes.pipelines:
            raise LeaseNotLive
        pipeline = self._routes.pipelines[lease.pipeline_id][1]
        style = await self._conditions.style(pipeline)
        if style is Style.NONE and pipeline.unconditional == "refuse":
            raise Unconditional(self._conditions.refusal(pipeline))
        self._note(lease, pipeline, [output.name for output in asked.outputs])
        return list(await asyncio.gather(*(self._upload(lease, pipeline, style, asked, o) for o in asked.outputs)))

    async def _upload(
        self, lease: LiveLease, pipeline: Pipeline, style: Style, asked: OutputsRequest, output: OutputRequest
    ) -> Upload:
        key = output_key(pipeline, lease.key, output.name)
        if style is Style.NONE:
            key = output_key(pipeline, lease.key, f"{RESERVED_PREFIX}{lease.token}/{output.name}")
        headers = {
            "content-type": output.content_type,
            f"x-amz-meta-{TOKEN}": str(lease.token),
            f"x-amz-meta-{INPUT_ETAG}": _visible(asked.etag),
            **await self._condition(lease, pipeline, key, style, asked, output),
        }
        if asked.modified:
            headers[f"x-amz-meta-{INPUT_MODIFIED}"] = asked.modified.isoformat()
        if output.cache_control:
            headers["cache-control"] = output.cache_control
        url = self._store.presigner.url(
            "PUT",
            pipeline.output.bucket,
            key,
            expires_seconds=_put_seconds(lease, pipeline),
            headers=headers,
        )
        return Upload(name=output.name, url=url, headers=headers)

    async def _condition(
        self,
        lease: LiveLease,
        pipeline: Pipeline,
        key: str,
        style: Style,
        asked: OutputsRequest,
        output: OutputRequest,
    ) -> dict[str, str]:
        if style is Style.NONE:
            return {}  # nobody else writes to a key of this token's own
        etag = lease.published.get(output.name)
        if output.conflict:
            found = await self._store.head(pipeline.output.bucket, key)
            if found:
                guard(found, lease, pipeline, asked.etag, asked.modified)
                if not token_of(found):
                    log.warning("output of somebody else replaced", key=key, modified=found.modified.isoformat())
            etag = found.etag if found else None
        return {"if-match": style.match(etag)} if etag else {"if-none-match": "*"}


def _put_seconds(lease: LiveLease, pipeline: Pipeline) -> int:
    """How long a presigned PUT lives: not as long as the lease, since the same bytes have the same ETag. A worker that
    wakes up later would find its ``If-Match`` true where content came back that had been there before.

    What has begun when the URL expires has the rest of the lease to take effect.
    """
    margin_seconds = min(_EFFECT_SECONDS, pipeline.lease_seconds / 4)
    return max(1, min(int(lease.left_seconds - margin_seconds), MAX_EXPIRES_SECONDS))


def url_seconds(pipeline: Pipeline) -> int:
    """How long a presigned GET for one lease lives."""
    return min(int(pipeline.lease_seconds) + _URL_GRACE_SECONDS, MAX_EXPIRES_SECONDS)


def output_key(pipeline: Pipeline, key: str, name: str) -> str:
    """Key of an output. Raises KeyTooLong."""
    full = f"{pipeline.output.prefix}{key}/{name}"
    if len(full.encode()) > MAX_KEY_BYTES:
        raise KeyTooLong(
            f"the result's key would have more than {MAX_KEY_BYTES} bytes: upload the file under a shorter name"
        )
    return full


def token_of(found: ObjectHead) -> int:
    """The fencing token that an output was written under; 0 where it carries none."""
    text = found.metadata.get(TOKEN, "")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def guard(found: ObjectHead, lease: LiveLease, pipeline: Pipeline, etag: str, modified: datetime | None) -> None:
    """Whether what is there may be replaced by a result of an input with this ETag and Last-Modified.

    An output without a fencing token was written by somebody else under a name that is ours: it may.
    Raises LeaseLost, ReplicaBehind.
    """
    if token_of(found) > lease.token:
        raise LeaseNotLive
    if _is_of_newer_content(found, etag, modified) and _is_recent(found, lease, pipeline):
        raise ReplicaBehind("there is a result of newer content already: a region of the store is behind")


def _is_of_newer_content(found: ObjectHead, etag: str, modified: datetime | None) -> bool:
    """Whether an output was made from content that may be newer than what this lease fetched."""
    there = _moment(found.metadata.get(INPUT_MODIFIED, ""))
    if there is None or modified is None or found.metadata.get(INPUT_ETAG) == _visible(etag):
        return False
    return there >= modified


def _is_recent(found: ObjectHead, lease: LiveLease, pipeline: Pipeline) -> bool:
    """Whether it was written so shortly before this lease that a region may not have had what it was made from. After
    that, what was fetched is the truth, though its Last-Modified is older: a rename may keep an old one."""
    lag_seconds = pipeline.replica_lag_seconds
    return lag_seconds > 0 and found.modified + timedelta(seconds=lag_seconds) > lease.leased_at


def _moment(text: str) -> datetime | None:
    try:
        return utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _visible(etag: str) -> str:
    """ETags are visible ASCII; what a worker says is made so, since it becomes a header."""
    return "".join(c for c in etag if "!" <= c <= "~") or "-"
