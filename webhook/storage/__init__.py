"""The bucket, as the control plane sees it: it signs URLs and asks about objects, and never carries their bytes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from webhook.config import Secrets
from webhook.events import ListedObject
from webhook.storage.presign import Presigner, SigningKeys, origin_of

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef, ListObjectsV2OutputTypeDef

Answer = TypeVar("Answer")

CONSISTENT = "x-tigris-consistent"
"""Header that asks Tigris for a strong read. Documented until 2026-02, and still sent by others since."""

_THREADS = 16
_ATTEMPTS = 3
_CONNECT_SECONDS = 5.0
_MOST_PAGES = 10
"""Of one listing of names: deeper keys are folded, but there may be very many of them."""
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects have to be restored before a GET. ``GLACIER_IR`` is read at once."""


class StoreError(Exception):
    """The store did not do what it was asked. The message holds no secret; ``retry`` says whether it may later.

    ``status`` is that of its answer, 0 where there was none.
    """

    def __init__(self, message: str, *, retry: bool, status: int = 0) -> None:
        super().__init__(message)
        self.retry = retry
        self.status = status


class PreconditionFailed(Exception):
    """The object is not what the condition says: it changed since it was looked at."""


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """An object that is there."""

    etag: str
    modified: datetime
    size: int
    """Bytes."""
    metadata: Mapping[str, str]
    archived: bool = False
    """It is in a tier that has to be asked to bring it back before it can be read, and has not done so."""


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page of a listing, in the order of the keys' bytes."""

    objects: tuple[ListedObject, ...]
    last: str
    """Where the next page goes on; "" where nothing was listed."""
    more: bool


class ObjectStore:
    """One S3 endpoint. Blocking calls of boto3 run in threads of its own."""

    def __init__(
        self,
        endpoint: str,
        region: str,
        credentials: SigningKeys,
        *,
        answer_seconds: float = 10,
        attempts: int = _ATTEMPTS,
    ) -> None:
        self.presigner = Presigner(endpoint.rstrip("/"), region, credentials)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        origin, _ = origin_of(endpoint, "bucket")
        self._client: S3Client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.session_token,
            config=Config(
                signature_version="s3v4",
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=answer_seconds,
                retries={"total_max_attempts": attempts, "mode": "standard"},
                max_pool_connections=_THREADS,
                # Stores other than AWS refuse the trailers that the SDK adds by default.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "virtual" if origin.partition("://")[2].startswith("bucket.") else "path"},
            ),
        )
        self._client.meta.events.register("before-sign.s3", _add_headers)

    async def head(self, bucket: str, key: str, *, consistent: bool = False) -> ObjectHead | None:
        """The object, or None where the store says that there is none. Raises StoreError.

        ``consistent`` asks for a strong read, which Tigris understands and other stores ignore.
        """
        try:
            said = await self._call(partial(self._head, bucket, key, consistent))
        except _Missing:
            return None
        # Header names have no case, and stores written in Go capitalise them.
        metadata = {name.lower(): value for name, value in said.get("Metadata", {}).items()}
        return ObjectHead(
            said.get("ETag", "").strip('"'),
            said["LastModified"],
            said["ContentLength"],
            metadata,
            archived=said.get("StorageClass") in _ARCHIVES and 'ongoing-request="false"' not in said.get("Restore", ""),
        )

    async def restore(self, bucket: str, key: str, days: int) -> None:
        """Ask for an archived object to be brought back for so many days. Asking again is fine. Raises StoreError."""
        ask = partial(self._client.restore_object, Bucket=bucket, Key=key, RestoreRequest={"Days": days})
        try:
            await self._call(ask)
        except _Missing:
            raise StoreError(f"{key!r} in {bucket!r} went away while it was to be restored", retry=True) from None
        except StoreError as error:
            if error.status != 409:  # RestoreAlreadyInProgress
                raise

    async def read(self, bucket: str, key: str, limit_bytes: int) -> tuple[bytes, str] | None:
        """Content and ETag of a small object, or None where there is none.

        Raises StoreError, also where it is longer.
        """
        try:
            return await self._call(partial(self._read, bucket, key, limit_bytes))
        except _Missing:
            return None

    async def list_page(
        self, bucket: str, prefix: str, *, after: str = "", most: int = 1000, modified_since: datetime | None = None
    ) -> ListingPage:
        """Up to ``most`` objects whose keys come after ``after``. Raises StoreError.

        ``modified_since`` asks for those written later only, which Tigris understands and other stores ignore.
        """
        call = partial(self._list, bucket, prefix, after, most, modified_since)
        try:
            return await self._call(call)
        except _Missing:
            raise _no_bucket(bucket) from None

    async def copy(self, bucket: str, key: str, to_bucket: str, to_key: str, etag: str) -> str:
        """Copy an object that still has this ETag, with its metadata. Returns the copy's ETag.

        Raises PreconditionFailed, also where it is gone, and StoreError.
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
            said = await self._call(copy)
        except _Missing:
            raise PreconditionFailed(key) from None
        return said["CopyObjectResult"]["ETag"].strip('"')

    async def names(self, bucket: str, prefix: str, most: int) -> list[ListedObject]:
        """Up to ``most`` objects directly below a prefix that ends in a slash: not those of deeper ones.

        Raises StoreError.
        """
        try:
            return await self._call(partial(self._names, bucket, prefix, most))
        except _Missing:
            raise _no_bucket(bucket) from None

    async def put_new(self, bucket: str, key: str, content: bytes) -> str:
        """Write an object that must not exist yet. Returns its ETag. Raises PreconditionFailed, StoreError."""
        put = partial(self._client.put_object, Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
        try:
            said = await self._call(put)
        except _Missing:
            raise _no_bucket(bucket) from None
        return said["ETag"].strip('"')

    async def put_over(self, bucket: str, key: str, content: bytes, if_match: str) -> str:
        """Write over an object under ``If-Match`` with just this value, its quotes as they are given.

        Returns its ETag. Raises PreconditionFailed, StoreError.
        """
        put = partial(self._client.put_object, Bucket=bucket, Key=key, Body=content, IfMatch=if_match)
        try:
            said = await self._call(put)
        except _Missing:
            raise PreconditionFailed(key) from None
        return said["ETag"].strip('"')

    async def delete(self, bucket: str, key: str, etag: str) -> None:
        """Delete the object if it still has this ETag ("": any); a missing one is fine.

        Raises PreconditionFailed, StoreError.
        """
        found = await self.head(bucket, key)
        if found is None:
            return
        if etag and found.etag != etag:
            # Asked here too, since not every store honours the condition below.
            raise PreconditionFailed(key)
        delete = partial(self._client.delete_object, Bucket=bucket, Key=key, IfMatch=f'"{etag or found.etag}"')
        with contextlib.suppress(_Missing):  # another process was faster
            await self._call(delete)

    async def reach(self, bucket: str) -> None:
        """Ask for the bucket itself, listing at most one key. Raises StoreError."""
        try:
            await self._call(partial(self._client.list_objects_v2, Bucket=bucket, MaxKeys=1))
        except _Missing:
            raise _no_bucket(bucket) from None

    async def ahead(self, bucket: str) -> timedelta:
        """How far the store's clock is ahead of this one, to about a second. Raises StoreError."""
        asked_at = datetime.now(UTC)
        try:
            said = await self._call(partial(self._client.list_objects_v2, Bucket=bucket, MaxKeys=1))
        except _Missing:
            raise _no_bucket(bucket) from None
        answered_at = datetime.now(UTC)
        try:
            theirs = parsedate_to_datetime(said["ResponseMetadata"]["HTTPHeaders"]["date"])
        except (KeyError, ValueError):
            raise StoreError("the store's answers have no Date", retry=False) from None
        # It was read somewhere between question and answer, and has whole seconds: half a one was cut off on average.
        return theirs.astimezone(UTC) + timedelta(seconds=0.5) - (asked_at + (answered_at - asked_at) / 2)

    async def aclose(self) -> None:
        """Close connections and threads."""
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _head(self, bucket: str, key: str, consistent: bool) -> HeadObjectOutputTypeDef:
        with _sending({CONSISTENT: "true"} if consistent else {}):
            return self._client.head_object(Bucket=bucket, Key=key)

    def _names(self, bucket: str, prefix: str, most: int) -> list[ListedObject]:
        found: list[ListedObject] = []
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        for page in itertools.islice(pages, _MOST_PAGES):
            found += _listed(page)
            if len(found) >= most:
                break
        return found[:most]

    def _read(self, bucket: str, key: str, limit_bytes: int) -> tuple[bytes, str]:
        said = self._client.get_object(Bucket=bucket, Key=key)
        with contextlib.closing(said["Body"]) as body:
            content = body.read(limit_bytes + 1)
        if len(content) > limit_bytes:
            raise StoreError(f"{key!r} in {bucket!r} is longer than {limit_bytes} bytes", retry=False)
        return content, said["ETag"].strip('"')

    def _list(self, bucket: str, prefix: str, after: str, most: int, modified_since: datetime | None) -> ListingPage:
        with _sending(_since(modified_since)):
            said = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after, MaxKeys=most)
        listed = _listed(said)
        return ListingPage(listed, listed[-1].key if listed else "", said.get("IsTruncated", False))

    async def _call(self, call: Callable[[], Answer]) -> Answer:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except ClientError as error:
            raise _translated(error) from None
        except BotoCoreError as error:
            raise StoreError(f"the store does not answer: {type(error).__name__}", retry=True) from None


def open_store(secrets: Secrets) -> ObjectStore:
    """The store that the environment names."""
    return ObjectStore(
        secrets.aws_endpoint_url_s3,
        secrets.aws_region,
        SigningKeys(
            secrets.aws_access_key_id.get_secret_value(),
            secrets.aws_secret_access_key.get_secret_value(),
            secrets.aws_session_token.get_secret_value() or None,
        ),
    )


extra_headers: ContextVar[Mapping[str, str]] = ContextVar("extra", default={})  # noqa: B039 - never written to
"""Headers that boto3 knows nothing of, for the calls of this thread."""


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
    """Source: "Listing objects with a query", Tigris' documentation."""
    if moment is None:
        return {}
    return {"X-Tigris-Query": f'WHERE `Last-Modified` > "{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"'}


def _listed(said: ListObjectsV2OutputTypeDef) -> tuple[ListedObject, ...]:
    return tuple(
        ListedObject(item["Key"], item["ETag"].strip('"'), item["LastModified"], item["Size"])
        for item in said.get("Contents", [])
    )


class _Missing(Exception):
    """404."""


def _no_bucket(bucket: str) -> StoreError:
    return StoreError(f"there is no bucket {bucket!r}: create it, or correct its name", retry=False)


def _translated(error: ClientError) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status == 404 or code in ("NoSuchKey", "NoSuchBucket", "NotFound"):
        return _Missing(code)
    if status == 412:
        return PreconditionFailed(code)
    if status in (401, 403):
        return StoreError(
            f"the store refuses access ({status} {code}): check the keys and their rights", retry=False, status=status
        )
    again = status in (408, 429) or (status >= 500 and status != 501)
    return StoreError(f"the store answered {status} {code}", retry=again, status=status)
