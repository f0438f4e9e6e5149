"""Buckets of one test on the local store, and a worker's PUT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from types_boto3_s3.client import S3Client

from tests.infra.local.running import RunningBucket
from tests.webhook.plane import configured, pipeline
from webhook.config import Config
from workers.protocol import Upload


@dataclass(frozen=True, slots=True)
class BucketPair:
    """An input and an output bucket."""

    store: RunningBucket
    s3: S3Client
    inputs: str
    outputs: str

    @classmethod
    def made(cls, store: RunningBucket) -> BucketPair:
        """Make two new buckets."""
        s3 = store.s3()
        return cls(store, s3, store.new_bucket(s3), store.new_bucket(s3))

    def configured(self, **more: Any) -> Config:
        """One pipeline from the one to the other."""
        return configured({"photos": pipeline(self.inputs, self.outputs, **more)})

    def keys(self) -> set[str]:
        """Keys in the output bucket."""
        return {item["Key"] for item in self.s3.list_objects_v2(Bucket=self.outputs).get("Contents", [])}

    def put(self, key: str, body: bytes = b"x", metadata: Mapping[str, str] | None = None) -> str:
        """Put an output without the control plane. Returns its ETag."""
        response = self.s3.put_object(Bucket=self.outputs, Key=key, Body=body, Metadata=metadata or {})
        return response["ETag"].strip('"')


async def sent(upload: Upload, body: bytes = b"hello", **headers: str) -> httpx.Response:
    """PUT with exactly the signed headers, or with ``headers`` replaced. Returns the store's response."""
    async with httpx.AsyncClient() as http:
        return await http.put(upload.url, content=body, headers={**upload.headers, **headers})
