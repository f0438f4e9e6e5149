"""Clients of the simulated store: boto3's client for the control plane, an HTTP client for workers.

A request may be refused (503), get lost, take effect long after its sender gave it up, or lose its answer. Reads of the
input bucket are answered by a random region's replica, which may be behind.
"""

# ruff: noqa: N803 - boto3's names

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, TypeVar

import httpx
from botocore.exceptions import ClientError, ReadTimeoutError

import webhook.storage
from tests.simulation.bucket import INPUT, Input, InputWrite, Provenance, ResultBucket, StoredResult
from tests.simulation.loop import Threads
from tests.simulation.process import SimulatedProcess, meet_killer
from tests.simulation.world import EPOCH, World
from webhook.storage import ObjectStore
from webhook.storage.late_effects import ANSWER_SECONDS, EFFECT_SECONDS
from workers import transfer

T = TypeVar("T")

lease_token: ContextVar[int] = ContextVar("lease_token", default=0)
"""Token of the lease that the running task works on."""

_FAULTS = ("refused", "refused", "lost", "answer", "late")
_UPLOAD_FAULTS = (*_FAULTS, "slow", "slow", "slow")
"""``late``: the request arrives late. ``slow``: it arrives at once, with a valid URL, and takes effect late."""
_PAGE = 2
"""Most objects in one page of a listing: few, so that listings have several pages."""
_CLIENT_SECONDS = 20.0
"""Time after which a worker gives a request up."""
_LATE_SECONDS = (1.0, EFFECT_SECONDS)
_VERY_LATE_SECONDS = (1.0, 120.0)
"""In worlds where a request may take effect long after its sender gave it up."""
_ADMISSION_SECONDS = 0.02


class ServiceUnavailable(Exception):
    """The store refused a request with 503."""


@dataclass
class SimulatedBuckets:
    """Both buckets, and the faults of requests to them."""

    world: World
    input: Input
    output: ResultBucket

    def region(self, process: SimulatedProcess) -> int:
        """Draw the region whose replica answers."""
        return self.world.draws.below(f"{process.name}/region", self.world.settings.regions)

    def read(self, process: SimulatedProcess, bucket: str, key: str) -> InputWrite | StoredResult | None:
        """Read an object; None where the answering replica has none."""
        if bucket != INPUT:
            return self.output.objects.get(key)
        stored = self.input.seen(self.region(process), key)
        if stored is not self.input.truth(key):
            self.world.counts["stale reads"] += 1
        return stored if stored is not None and stored.content is not None else None

    async def request(
        self,
        process: SimulatedProcess,
        what: str,
        effect: Callable[[], T],
        admit: Callable[[], None] = lambda: None,
        client_seconds: float = _CLIENT_SECONDS,
    ) -> T:
        """Send one request. Raises ServiceUnavailable, or TimeoutError without an answer: it may still take effect.

        ``admit`` is called when the request begins to arrive; a slow upload takes effect long after. The client waits
        for an answer for ``client_seconds``.
        """
        world, settings = self.world, self.world.settings
        rate = max(settings.store_fault, settings.listing_fault) if what == "list" else settings.store_fault
        if "PUT" in what and world.draws.fault(f"{process.name}/upload-stall", 3 * settings.stall):
            # A stall right before the PUT is the worst case: the lease was still live at the last check.
            cancelled = await process.freeze()
            sent = process.send(effect, process.transit())
            if cancelled:
                raise asyncio.CancelledError
            return await sent
        await process.hop()
        if not world.draws.fault(f"{process.name}/{what}", rate):
            value = await process.send(effect, process.transit())
            await process.hop()
            return value
        world.counts["store faults"] += 1
        kind = world.draws.choice(f"{process.name}/{what}-fault", _UPLOAD_FAULTS if "PUT" in what else _FAULTS)
        if world.tracing:
            world.note(f"{process.name}: {what}: the store's fault: {kind}")
        if kind == "slow":
            admit()
        await self._fault(process, kind, effect, client_seconds)
        await process.hop()
        if kind == "refused":
            raise ServiceUnavailable
        raise TimeoutError

    async def _fault(
        self, process: SimulatedProcess, kind: str, effect: Callable[[], Any], client_seconds: float
    ) -> None:
        world = self.world
        if kind == "refused":
            await asyncio.sleep(0.01)
            return
        if kind == "answer":
            process.send(effect, process.transit())
        elif kind in ("late", "slow"):
            world.stalled += 1
            span = _VERY_LATE_SECONDS if world.settings.late_effects else _LATE_SECONDS
            late = world.draws.between(f"{process.name}/late", *span)
            process.send(lambda: self._arrive_late(effect, late), late)
        await asyncio.sleep(client_seconds)

    def _arrive_late(self, effect: Callable[[], Any], seconds: float) -> None:
        self.world.stalled -= 1
        self.world.given_up = seconds > EFFECT_SECONDS
        effect()


def http_seconds(at: float) -> datetime:
    """Last-Modified in whole seconds, as in HTTP."""
    return EPOCH.fromtimestamp(int(EPOCH.timestamp() + at), UTC)


# ── the control plane ────────────────────────────────────────────────────────────────────────────────────────────────


class SimulatedPresigner:
    """Makes URLs that hold their method, expiry, bucket and key in plain text."""

    def __init__(self, world: World) -> None:
        self._world = world

    def url(self, method: str, bucket: str, key: str, *, expires_seconds: int, headers: Any = None) -> str:
        return f"{method} {self._world.now + expires_seconds} {bucket} {key}"


class SimulatedObjectStore(ObjectStore):
    """The control plane's real store, with the network below boto3's client simulated."""

    def __init__(self, process: SimulatedProcess, buckets: SimulatedBuckets) -> None:
        self._effect_seconds = EFFECT_SECONDS
        self.presigner: Any = SimulatedPresigner(process.world)
        self.put_presigner: Any = self.presigner
        self._threads: Any = Threads(process)
        self._client: Any = SimulatedBotoClient(process, buckets)

    async def put_presigned(self, bucket: str, key: str, content: bytes, unsigned: Any, length: Any = None) -> int:
        """The simulated store refuses what is not signed."""
        return 403

    async def _call(self, call: Callable[[], T], *, changes: bool = False) -> T:
        """Send the call as a simulated request; the real method translates its errors."""
        process: SimulatedProcess = self._threads.process
        buckets: SimulatedBuckets = self._client.buckets

        async def request() -> T:
            what = getattr(getattr(call, "func", None), "__name__", "call").lstrip("_")
            try:
                return await buckets.request(process, what, call, client_seconds=ANSWER_SECONDS)
            except ServiceUnavailable:
                raise ClientError(_error_fields(503, "SlowDown"), what) from None
            except TimeoutError:
                raise ReadTimeoutError(endpoint_url="") from None

        self._threads.request = request
        return await super()._call(call, changes=changes)


class SimulatedBotoClient:
    """The methods of boto3's client that the control plane uses, without delay."""

    def __init__(self, process: SimulatedProcess, buckets: SimulatedBuckets) -> None:
        self._process = process
        self.buckets = buckets

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        stored = self._stored(Bucket, Key)
        head = {"ETag": f'"{_etag(stored)}"', "LastModified": http_seconds(stored.at), "ContentLength": 1}
        date = format_datetime(http_seconds(self._process.world.now), usegmt=True)
        return {**head, "Metadata": _metadata(stored), "ResponseMetadata": {"HTTPHeaders": {"date": date}}}

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        stored = self._stored(Bucket, Key)
        return {"ETag": f'"{_etag(stored)}"', "Body": Body(_bytes(stored))}

    def delete_object(self, Bucket: str, Key: str, IfMatch: str | None = None) -> dict[str, Any]:
        if not self.buckets.output.delete(Key, IfMatch.strip('"') if IfMatch else None):
            raise ClientError(_error_fields(412, "PreconditionFailed"), "DeleteObject")
        return {}

    def list_objects_v2(
        self, Bucket: str, MaxKeys: int = 1000, Prefix: str = "", StartAfter: str = "", Delimiter: str = ""
    ) -> dict[str, Any]:
        most = min(MaxKeys, _PAGE)
        stored = [
            item
            for item in self._all(Bucket)
            if item.key.startswith(Prefix) and item.key > StartAfter and self._matches_query(item)
        ]
        contents = [
            {"Key": item.key, "ETag": f'"{_etag(item)}"', "LastModified": http_seconds(item.at), "Size": 1}
            for item in stored[:most]
        ]
        return {"Contents": contents, "IsTruncated": len(stored) > most}

    def get_paginator(self, _operation: str) -> Paginator:
        return Paginator(self)

    def _all(self, bucket: str) -> list[InputWrite] | list[StoredResult]:
        if bucket == INPUT:
            return list(self.buckets.input.listed(self.buckets.region(self._process)))
        objects = self.buckets.output.objects
        return [objects[key] for key in sorted(objects, key=str.encode)]

    def _matches_query(self, item: InputWrite | StoredResult) -> bool:
        """Apply Tigris' query by Last-Modified; other stores ignore it."""
        query = webhook.storage.extra_headers.get().get("X-Tigris-Query")
        if not query or not self.buckets.world.settings.since_query:
            return True
        since = datetime.fromisoformat(query.split('"')[1].replace("Z", "+00:00"))
        return http_seconds(item.at) > since

    def _stored(self, bucket: str, key: str) -> InputWrite | StoredResult:
        stored = self.buckets.read(self._process, bucket, key)
        if stored is None:
            raise ClientError(_error_fields(404, "NoSuchKey"), "GetObject")
        return stored


class Paginator:
    """Lists all pages at once: few objects lie below the key of one input."""

    def __init__(self, client: SimulatedBotoClient) -> None:
        self._client = client

    def paginate(self, Bucket: str, Prefix: str, Delimiter: str) -> list[dict[str, Any]]:
        pages: list[dict[str, Any]] = []
        after = ""
        while not pages or pages[-1]["IsTruncated"]:
            page = self._client.list_objects_v2(Bucket, Prefix=Prefix, StartAfter=after)
            after = page["Contents"][-1]["Key"] if page["Contents"] else after
            pages.append(page)
        for page in pages:
            page["Contents"] = [item for item in page["Contents"] if Delimiter not in item["Key"][len(Prefix) :]]
        return pages


class Body:
    """Body of a response of boto3's client."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, most: int) -> bytes:
        return self._content[:most]

    def close(self) -> None:
        pass


def _error_fields(status: int, code: str) -> Any:
    return {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


def _etag(stored: InputWrite | StoredResult) -> str:
    return stored.etag if isinstance(stored, StoredResult) else stored.content or ""


def _bytes(stored: InputWrite | StoredResult) -> bytes:
    return stored.body if isinstance(stored, StoredResult) else (stored.content or "").encode()


def _metadata(stored: InputWrite | StoredResult) -> dict[str, str]:
    if isinstance(stored, InputWrite):
        return {}
    start = "x-amz-meta-"
    return {name.removeprefix(start): value for name, value in stored.headers.items() if name.startswith(start)}


# ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Response:
    """Response to a worker's HTTP client."""

    status_code: int
    headers: dict[str, str]
    content: bytes = b""

    async def aiter_raw(self, _chunk_bytes: int = 0) -> AsyncIterator[bytes]:
        if self.content:
            yield self.content


class Http:
    """A worker's HTTP client for presigned URLs."""

    def __init__(self, process: SimulatedProcess, buckets: SimulatedBuckets) -> None:
        self._process = process
        self._buckets = buckets
        self.fetched: dict[int, Provenance] = {}
        """What the last fetch of each lease returned, by token."""

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, url: str, *, headers: dict[str, str], content: AsyncIterator[bytes] | None = None
    ) -> AsyncIterator[Response]:
        allowed, expires, bucket, key = url.split(" ", 3)
        body = b"".join([chunk async for chunk in content]) if content else b""
        # Taken now: the worker may fetch the input again before a late PUT takes effect.
        made = self.fetched.get(lease_token.get())

        admitted_at: list[float] = []

        def effect() -> Response:
            # The store checks the expiry of a URL when a request begins.
            now = min([*admitted_at, self._process.world.now])
            if allowed != method or now > float(expires):
                return Response(403, {}, b"<Code>AccessDenied</Code>")
            if method == "PUT":
                return self._put(key, body, headers, made)
            return self._get(bucket, key, headers)

        token = lease_token.get()
        self._process.world.invariants.losses.works(self._process, token)
        if made and method == "PUT":
            await meet_killer(self._process, token, made.content, "publishing")
        answer = await self._answer(
            f"{method} {key}", effect, lambda: admitted_at.append(self._process.world.now + _ADMISSION_SECONDS)
        )
        if method == "GET" and bucket == INPUT and answer.status_code == 200:
            await meet_killer(self._process, token, answer.content.decode(), "fetching")
        yield answer

    async def _answer(self, what: str, effect: Callable[[], Response], admit: Callable[[], None]) -> Response:
        world = self._process.world
        try:
            response = await self._buckets.request(self._process, what, effect, admit)
        except ServiceUnavailable:
            return Response(503, {}, b"<Code>SlowDown</Code>")
        except TimeoutError:
            raise httpx.ReadTimeout("") from None
        if world.tracing:
            etag = response.headers.get("etag", "")
            world.note(f"{self._process.name}: {what} → {response.status_code} {etag}".rstrip())
        return response

    def _get(self, bucket: str, key: str, headers: dict[str, str]) -> Response:
        self._process.world.counts["GETs"] += bucket == INPUT
        stored = self._buckets.read(self._process, bucket, key)
        if stored is None:
            return Response(404, {}, b"<Code>NoSuchKey</Code>")
        if isinstance(stored, InputWrite):
            now = self._process.world.now
            self.fetched[lease_token.get()] = Provenance(key, stored.content or "", stored, now)
        answer = {
            "etag": f'"{_etag(stored)}"',
            "last-modified": format_datetime(http_seconds(stored.at), usegmt=True),
        }
        if headers.get("if-none-match") == answer["etag"]:
            return Response(304, answer)
        content = _bytes(stored)
        return Response(200, {**answer, "content-length": str(len(content))}, content)

    def _put(self, key: str, body: bytes, headers: dict[str, str], made: Provenance | None) -> Response:
        kept = {name.lower(): value for name, value in headers.items()}
        stored = self._buckets.output.put(key, body, kept, made)
        if stored is None:
            return Response(412, {}, b"<Code>PreconditionFailed</Code>")
        return Response(200, {"etag": f'"{stored.etag}"'})


class WorkerStore(transfer.TransferClient):
    """A worker's real transfer client, with the connection simulated."""

    def __init__(self, process: SimulatedProcess, buckets: SimulatedBuckets) -> None:
        self._limits = transfer.TransferLimits()
        self._http: Any = Http(process, buckets)
