"""S3 client of the control plane: lists, heads, copies and deletes objects, and signs URLs for their transfer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from webhook.events import ListedObject
from webhook.secret_settings import Secrets
from webhook.storage.client import client_errors, s3_client, signing_keys
from webhook.storage.late_effects import ANSWER_SECONDS, ATTEMPTS, EFFECT_SECONDS, outlasted
from webhook.storage.presign import Presigner, SigningKeys
from webhook.store_endpoint import Addressing, normalised
from workers import tls
from workers.outgoing import PAST_PROXIES, why_unreachable

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef, ListObjectsV2OutputTypeDef

Answer = TypeVar("Answer")

CONSISTENT = "x-tigris-consistent"
"""Header that asks Tigris for a strong read. Documented until 2026-02, and still sent by others since."""

_THREADS = 16
_MOST_PAGES = 10
"""Most pages of one listing of children: deeper keys are folded into common prefixes, but these may be very many."""
_PUT_SECONDS = 20
_TRANSIENT = frozenset({408, 429})
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects have to be restored before a GET. ``GLACIER_IR`` needs no restore."""


class StoreError(Exception):
    """A request to the store failed. The message holds no secret; ``retry`` says whether a later one may succeed.

    ``status`` is that of the response, 0 where there was none.
    """

    def __init__(self, message: str, *, retry: bool, status: int = 0) -> None:
        super().__init__(message)
        self.retry = retry
        self.status = status


class PreconditionFailed(Exception):
    """A condition on the object's ETag failed: the object has changed, or is gone."""


class ObjectMissing(Exception):
    """The store answered 404."""


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """Metadata of an object, from a HEAD response."""

    etag: str
    modified: datetime
    age_seconds: float
    """Since it was written, by the store's own clock: that of the database may show another time."""
    size: int
    """Bytes."""
    metadata: Mapping[str, str]
    archived: bool = False
    """Whether it is in an archive tier and has to be restored before it can be read."""


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a listing, in the order of the keys' bytes."""

    objects: tuple[ListedObject, ...]
    last: str
    """Last key listed, after which the next page begins; "" where nothing was listed."""
    more: bool


class ObjectStore:
    """Client of one S3 endpoint. Blocking calls of boto3 run in threads of its own."""

    def __init__(
        self,
        endpoint: str,
        region: str,
        credentials: SigningKeys,
        *,
        publisher: SigningKeys | None = None,
        addressing: Addressing = "auto",
        answer_seconds: float = ANSWER_SECONDS,
        attempts: int = ATTEMPTS,
        effect_seconds: float = EFFECT_SECONDS,
    ) -> None:
        endpoint = normalised(endpoint)
        self.presigner = Presigner(endpoint, region, credentials, addressing)
        self.put_presigner = Presigner(endpoint, region, publisher or credentials, addressing)
        """Signs the PUTs that workers get."""
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        self._effect_seconds = effect_seconds
        self._client = s3_client(
            endpoint,
            region,
            credentials,
            addressing,
            connections=_THREADS,
            answer_seconds=answer_seconds,
            attempts=attempts,
        )
        self._client.meta.events.register("before-sign.s3", _add_headers)

    async def head(self, bucket: str, key: str, *, consistent: bool = False) -> ObjectHead | None:
        """Return an object's metadata, or None where the store answers 404. Raises StoreError.

        ``consistent`` asks for a strong read, which Tigris understands and other stores ignore.
        """
        try:
            response = await self._call(partial(self._head, bucket, key, consistent))
        except ObjectMissing:
            return None
        # Header names have no case, and stores written in Go capitalise them.
        metadata = {name.lower(): value for name, value in response.get("Metadata", {}).items()}
        return ObjectHead(
            response.get("ETag", "").strip('"'),
            response["LastModified"],
            (_answered_at(response) - response["LastModified"]).total_seconds(),
            response["ContentLength"],
            metadata,
            archived=_is_archived(response),
        )

    async def restore(self, bucket: str, key: str, days: int) -> None:
        """Request that an archived object be restored for some days. Idempotent. Raises StoreError."""
        restore = partial(self._client.restore_object, Bucket=bucket, Key=key, RestoreRequest={"Days": days})
        try:
            await self._call(restore)
        except ObjectMissing:
            raise StoreError(f"{key!r} in {bucket!r} went away while it was to be restored", retry=True) from None
        except StoreError as error:
            if error.status != 409:  # RestoreAlreadyInProgress
                raise

    async def read(self, bucket: str, key: str, limit_bytes: int) -> tuple[bytes, str] | None:
        """Return content and ETag of a small object, or None where there is none.

        Raises StoreError, also where the object is longer than ``limit_bytes``.
        """
        try:
            return await self._call(partial(self._read, bucket, key, limit_bytes))
        except ObjectMissing:
            return None

    async def list_page(
        self, bucket: str, prefix: str, *, after: str = "", most: int = 1000, modified_since: datetime | None = None
    ) -> ListingPage:
        """List up to ``most`` objects whose keys come after ``after``. Raises StoreError.

        ``modified_since`` restricts the listing to objects written later, which Tigris understands and other stores
        ignore.
        """
        call = partial(self._list, bucket, prefix, after, most, modified_since)
        try:
            return await self._call(call)
        except ObjectMissing:
            raise _no_bucket(bucket) from None

    async def copy(self, bucket: str, key: str, to_bucket: str, to_key: str, etag: str) -> str:
        """Copy an object with its metadata if it still has this ETag. Returns the copy's ETag.

        Ends once it cannot take effect any more. Raises PreconditionFailed, also where the object is gone, and
        StoreError.
        """
        copy = partial(
            self._client.copy_object,
            Bucket=to_bucket,
            Key=to_key,
            CopySource={"Bucket": bucket, "Key": key},
            CopySourceIfMatch=f'"{etag}"',
            MetadataDirective="COPY",
        )
        try:
            response = await self._call(copy, changes=True)
        except ObjectMissing:
            raise PreconditionFailed(key) from None
        return response["CopyObjectResult"]["ETag"].strip('"')

    async def list_children(self, bucket: str, prefix: str, most: int) -> list[ListedObject]:
        """List up to ``most`` objects directly below a prefix that ends in a slash, without deeper keys.

        Raises StoreError.
        """
        try:
            return await self._call(partial(self._list_children, bucket, prefix, most))
        except ObjectMissing:
            raise _no_bucket(bucket) from None

    async def put_new(self, bucket: str, key: str, content: bytes) -> str:
        """Put an object under ``If-None-Match: *``. Returns its ETag. Raises PreconditionFailed, StoreError."""
        put = partial(self._client.put_object, Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
        try:
            response = await self._call(put)
        except ObjectMissing:
            raise _no_bucket(bucket) from None
        return response["ETag"].strip('"')

    async def put_over(self, bucket: str, key: str, content: bytes, if_match: str) -> str:
        """Overwrite an object under ``If-Match`` with exactly this value, quotes included.

        Returns its ETag. Raises PreconditionFailed, StoreError.
        """
        put = partial(self._client.put_object, Bucket=bucket, Key=key, Body=content, IfMatch=if_match)
        try:
            response = await self._call(put)
        except ObjectMissing:
            raise PreconditionFailed(key) from None
        return response["ETag"].strip('"')

    async def put_presigned(
        self, bucket: str, key: str, content: bytes, unsigned: Mapping[str, str], length: int | None = None
    ) -> int:
        """PUT an object by a presigned URL as workers have it, with headers added that it does not sign.

        ``length`` is signed in place of the content's own. Returns the status, below 500. Raises StoreError.
        """
        signed = {"content-length": str(len(content) if length is None else length)}
        return await self._put(bucket, key, content, unsigned, signed)

    async def put_streamed(
        self, bucket: str, key: str, chunks: AsyncIterator[bytes], length: int, content_type: str
    ) -> None:
        """PUT an object of so many bytes, which come in chunks, over another one of that key. Raises StoreError."""
        signed = {"content-length": str(length)}
        status = await self._put(bucket, key, chunks, {**signed, "content-type": content_type}, signed)
        if status != 200:
            raise StoreError(f"the store answered a presigned PUT {status}", retry=False, status=status)

    async def _put(
        self,
        bucket: str,
        key: str,
        content: bytes | AsyncIterator[bytes],
        headers: Mapping[str, str],
        signed: Mapping[str, str],
    ) -> int:
        url = self.put_presigner.url("PUT", bucket, key, expires_seconds=_PUT_SECONDS, headers=signed)
        try:
            async with httpx.AsyncClient(verify=tls.context(), mounts=PAST_PROXIES, timeout=_PUT_SECONDS) as client:
                answer = await client.put(url, content=content, headers=dict(headers))
        except httpx.HTTPError as error:
            raise StoreError(f"the store does not answer: {why_unreachable(error)}", retry=True) from None
        if answer.status_code >= 500 or answer.status_code in _TRANSIENT:
            raise StoreError(f"the store answered a presigned PUT {answer.status_code}", retry=True)
        return answer.status_code

    async def delete(self, bucket: str, key: str, etag: str) -> None:
        """Delete an object if it still has this ETag ("": any). Does nothing where the object is missing.

        Ends once it cannot take effect any more. Raises PreconditionFailed, StoreError.
        """
        head = await self.head(bucket, key)
        if head is None:
            return
        if etag and head.etag != etag:
            # Compared here too, since not every store honours the condition below.
            raise PreconditionFailed(key)
        delete = partial(self._client.delete_object, Bucket=bucket, Key=key, IfMatch=f'"{etag or head.etag}"')
        with contextlib.suppress(ObjectMissing):  # deleted by another client since the HEAD request
            await self._call(delete, changes=True)

    async def check_bucket(self, bucket: str) -> None:
        """Check that the bucket exists and can be listed. Raises StoreError."""
        try:
            await self._call(partial(self._client.list_objects_v2, Bucket=bucket, MaxKeys=1))
        except ObjectMissing:
            raise _no_bucket(bucket) from None

    async def clock_offset(self, bucket: str) -> timedelta:
        """Measure how far the store's clock is ahead of this one, to about a second. Raises StoreError."""
        requested_at = datetime.now(UTC)
        try:
            response = await self._call(partial(self._client.list_objects_v2, Bucket=bucket, MaxKeys=1))
        except ObjectMissing:
            raise _no_bucket(bucket) from None
        answered_at = datetime.now(UTC)
        try:
            theirs = parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])
        except (KeyError, ValueError):
            raise StoreError("the store's answers have no Date", retry=False) from None
        # The store read its clock between request and response, and Date has whole seconds: half a second is cut off on
        # average.
        return theirs.astimezone(UTC) + timedelta(seconds=0.5) - (requested_at + (answered_at - requested_at) / 2)

    async def call(self, call: Callable[[S3Client], Answer]) -> Answer:
        """Make a call of the SDK's client in a thread. Raises ObjectMissing, PreconditionFailed, StoreError."""
        return await self._call(partial(call, self._client))

    async def aclose(self) -> None:
        """Close connections and threads."""
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _head(self, bucket: str, key: str, consistent: bool) -> HeadObjectOutputTypeDef:
        with _sending({CONSISTENT: "true"} if consistent else {}):
            return self._client.head_object(Bucket=bucket, Key=key)

    def _list_children(self, bucket: str, prefix: str, most: int) -> list[ListedObject]:
        children: list[ListedObject] = []
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        for page in itertools.islice(pages, _MOST_PAGES):
            children += _listed(page)
            if len(children) >= most:
                break
        return children[:most]

    def _read(self, bucket: str, key: str, limit_bytes: int) -> tuple[bytes, str]:
        response = self._client.get_object(Bucket=bucket, Key=key)
        with contextlib.closing(response["Body"]) as body:
            content = body.read(limit_bytes + 1)
        if len(content) > limit_bytes:
            raise StoreError(f"{key!r} in {bucket!r} is longer than {limit_bytes} bytes", retry=False)
        return content, response["ETag"].strip('"')

    def _list(self, bucket: str, prefix: str, after: str, most: int, modified_since: datetime | None) -> ListingPage:
        with _sending(_since(modified_since)):
            response = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after, MaxKeys=most)
        listed = _listed(response)
        return ListingPage(listed, listed[-1].key if listed else "", response.get("IsTruncated", False))

    async def _call(self, call: Callable[[], Answer], *, changes: bool = False) -> Answer:
        sent = asyncio.get_running_loop().run_in_executor(self._threads, call)
        try:
            return await (outlasted(sent, self._effect_seconds) if changes else sent)
        except ClientError as error:
            raise _translated(error) from None
        except BotoCoreError as error:
            raise StoreError(f"the store does not answer: {why_unreachable(error)}", retry=True) from None
        except (OSError, RuntimeError) as error:  # of this machine: no file descriptor, no thread
            raise StoreError(f"the store could not be asked: {error}", retry=True) from error


def open_store(secrets: Secrets) -> ObjectStore:
    """Make a client for the store that the environment configures.

    Raises ConfigError where the SDK's own settings are wrong: a profile that does not exist, say.
    """
    publisher = SigningKeys(
        secrets.yurt_publish_access_key_id.get_secret_value(), secrets.yurt_publish_secret_access_key.get_secret_value()
    )
    with client_errors():
        return ObjectStore(
            secrets.aws_endpoint_url_s3,
            secrets.aws_region,
            signing_keys(secrets),
            publisher=publisher if publisher.access_key else None,
            addressing=secrets.yurt_s3_addressing,
        )


extra_headers: ContextVar[Mapping[str, str]] = ContextVar("extra", default={})  # noqa: B039 - never written to
"""Headers that boto3 has no parameters for, to be added to requests of this thread."""


@contextlib.contextmanager
def _sending(headers: Mapping[str, str]) -> Iterator[None]:
    token = extra_headers.set(headers)
    try:
        yield
    finally:
        extra_headers.reset(token)


def _add_headers(request: AWSRequest, **_: object) -> None:
    for name, value in extra_headers.get().items():
        request.headers[name] = value


def _since(moment: datetime | None) -> Mapping[str, str]:
    """Header with which Tigris lists only objects written later.

    Source: "Listing objects with a query", Tigris' documentation.
    """
    if moment is None:
        return {}
    return {"X-Tigris-Query": f'WHERE `Last-Modified` > "{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"'}


def _answered_at(response: HeadObjectOutputTypeDef) -> datetime:
    """The store's clock when it answered. Every HTTP server with a clock sends ``Date``: RFC 9110, 6.6.1."""
    try:
        return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _is_archived(response: HeadObjectOutputTypeDef) -> bool:
    restored = 'ongoing-request="false"' in response.get("Restore", "")
    return response.get("StorageClass") in _ARCHIVES and not restored


def _listed(response: ListObjectsV2OutputTypeDef) -> tuple[ListedObject, ...]:
    return tuple(
        ListedObject(item["Key"], item["ETag"].strip('"'), item["LastModified"], item["Size"])
        for item in response.get("Contents", [])
    )


def _no_bucket(bucket: str) -> StoreError:
    return StoreError(f"there is no bucket {bucket!r}: create it, or correct its name", retry=False)


def _translated(error: ClientError) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status == 404 or code in ("NoSuchKey", "NoSuchBucket", "NotFound"):
        return ObjectMissing(code)
    if status == 412:
        return PreconditionFailed(code)
    if status in (401, 403):
        return StoreError(
            f"the store refuses access ({status} {code}): check the keys and their rights", retry=False, status=status
        )
    # 501 stays: a request that the store does not implement fails again.
    retry = status in (408, 429) or (status >= 500 and status != 501)
    return StoreError(f"the store answered {status} {code}", retry=retry, status=status)
