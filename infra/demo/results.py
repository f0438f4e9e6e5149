"""What lies in the buckets when all is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.interrupts import Stop

_THREADS = 4
_MAX_OBJECTS = 2_000
_MAX_BYTES = 64 << 20


class ResultsError(Exception):
    """A bucket could not be read."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One object of a bucket."""

    etag: str
    content: bytes
    content_type: str = ""
    metadata: Mapping[str, str] | None = None
    """Its user metadata, names in lower case."""


def listing(s3: Any, bucket: str, prefix: str = "") -> dict[str, str]:
    """ETags, without quotes, of about 2,000 objects at most, by key. Raises ResultsError."""
    found: dict[str, str] = {}
    with _reading(bucket):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            found |= {item["Key"]: item["ETag"].strip('"') for item in page.get("Contents", ())}
            if len(found) >= _MAX_OBJECTS:
                break
    return found


def read(s3: Any, bucket: str, keys: Iterable[str], stop: Stop) -> dict[str, Stored]:
    """The objects of these keys. Raises Interrupted, ResultsError."""

    def one(key: str) -> Stored:
        stop.check()
        answer = s3.get_object(Bucket=bucket, Key=key)
        return Stored(
            etag=answer["ETag"].strip('"'),
            content=answer["Body"].read(_MAX_BYTES),
            content_type=answer["ContentType"],
            metadata={name.lower(): value for name, value in answer["Metadata"].items()},
        )

    wanted = list(keys)
    with _reading(bucket), ThreadPoolExecutor(_THREADS, thread_name_prefix="results") as pool:
        return dict(zip(wanted, pool.map(one, wanted), strict=True))


@contextmanager
def _reading(bucket: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise ResultsError(f"the bucket {bucket} cannot be read: {error}") from error
