"""The bucket, as the control plane sees it: it signs URLs and asks about objects, and never carries their bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from webhook.config import Secrets
from webhook.storage.presign import Credentials, Presigner, origin_of

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

Answer = TypeVar("Answer")

_THREADS = 16
_ATTEMPTS = 3
_CONNECT_SECONDS = 5.0


class StoreError(Exception):
    """The store did not do what it was asked. The message holds no secret; ``retry`` says whether it may later."""

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


class PreconditionFailed(Exception):
    """The object is not what the condition says: it changed since it was looked at."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there."""

    etag: str
    modified: datetime
    size: int
    """Bytes."""
    metadata: Mapping[str, str]


class Store:
    """One S3 endpoint. Blocking calls of boto3 run in threads of its own."""

    def __init__(
        self,
        endpoint: str,
        region: str,
        credentials: Credentials,
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

    async def head(self, bucket: str, key: str) -> Found | None:
        """The object, or None where the store says that there is none. Raises StoreError."""
        try:
            said = await self._call(partial(self._client.head_object, Bucket=bucket, Key=key))
        except _Missing:
            return None
        # Header names have no case, and stores written in Go capitalise them.
        metadata = {name.lower(): value for name, value in said.get("Metadata", {}).items()}
        return Found(said.get("ETag", "").strip('"'), said["LastModified"], said["ContentLength"], metadata)

    async def put_new(self, bucket: str, key: str, content: bytes) -> str:
        """Write an object that must not exist yet. Returns its ETag. Raises PreconditionFailed, StoreError."""
        put = partial(self._client.put_object, Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
        try:
            said = await self._call(put)
        except _Missing:
            raise _no_bucket(bucket) from None
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
        with contextlib.suppress(_Missing):  # somebody else was faster
            await self._call(delete)

    async def reach(self, bucket: str) -> None:
        """Ask for the bucket itself, listing at most one key. Raises StoreError."""
        try:
            await self._call(partial(self._client.list_objects_v2, Bucket=bucket, MaxKeys=1))
        except _Missing:
            raise _no_bucket(bucket) from None

    async def aclose(self) -> None:
        """Close connections and threads."""
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, call: Callable[[], Answer]) -> Answer:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except ClientError as error:
            raise _translated(error) from None
        except BotoCoreError as error:
            raise StoreError(f"the store does not answer: {type(error).__name__}", retry=True) from None


def open_store(secrets: Secrets) -> Store:
    """The store that the environment names."""
    return Store(
        secrets.aws_endpoint_url_s3,
        secrets.aws_region,
        Credentials(
            secrets.aws_access_key_id.get_secret_value(),
            secrets.aws_secret_access_key.get_secret_value(),
            secrets.aws_session_token.get_secret_value() or None,
        ),
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
        return StoreError(f"the store refuses access ({status} {code}): check the keys and their rights", retry=False)
    return StoreError(f"the store answered {status} {code}", retry=status in (408, 429) or status >= 500)
