"""Lists and reads the objects of a bucket with plain boto3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.interrupts import Interrupts

_THREADS = 4
_MAX_OBJECTS = 2_000
_MAX_BYTES = 64 << 20


class ResultsError(Exception):
    """A bucket could not be read."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a bucket, with its content."""

    etag: str
    content: bytes
    content_type: str = ""
    metadata: Mapping[str, str] | None = None
    """Its user metadata, names in lower case."""


def listing(s3: Any, bucket: str, prefix: str = "") -> dict[str, str]:
    """ETags, without quotes, by key, of about 2,000 objects at most. Raises ResultsError."""
    etags: dict[str, str] = {}
    with _reading(bucket):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            etags |= {item["Key"]: item["ETag"].strip('"') for item in page.get("Contents", ())}
            if len(etags) >= _MAX_OBJECTS:
                break
    return etags


def read(s3: Any, bucket: str, keys: Iterable[str], interrupts: Interrupts) -> dict[str, StoredObject]:
    """Read the objects of these keys. Raises Interrupted, ResultsError."""

    def get(key: str) -> StoredObject:
        interrupts.check()
        response = s3.get_object(Bucket=bucket, Key=key)
        return StoredObject(
            etag=response["ETag"].strip('"'),
            content=response["Body"].read(_MAX_BYTES),
            content_type=response["ContentType"],
            metadata={name.lower(): value for name, value in response["Metadata"].items()},
        )

    names = list(keys)
    with _reading(bucket), ThreadPoolExecutor(_THREADS, thread_name_prefix="results") as pool:
        return dict(zip(names, pool.map(get, names), strict=True))


@contextmanager
def _reading(bucket: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise ResultsError(f"the bucket {bucket} cannot be read: {error}") from error
