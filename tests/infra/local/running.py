"""The local bucket as people run it: a process of its own, spoken to over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import boto3
import httpx
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from types_boto3_s3.client import S3Client

from webhook.storage.presign import Presigner, SigningKeys
from workers.parent_death import ENVIRONMENT

ACCESS_KEY, SECRET_KEY = "tid_test", "tsec_test"
PUBLISH_KEY, PUBLISH_SECRET = "tid_publish", "tsec_publish"
KEYS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "YURT_PUBLISH_ACCESS_KEY_ID": PUBLISH_KEY,
    "YURT_PUBLISH_SECRET_ACCESS_KEY": PUBLISH_SECRET,
}
"""Of the bucket: one that may do everything, and one that may only write."""


@dataclass(frozen=True)
class RunningBucket:
    endpoint: str
    process: subprocess.Popen[str]
    http: httpx.Client

    def s3(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="auto",
            config=Config(
                signature_version="s3v4",
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
            ),
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    def new_bucket(self, s3: S3Client, webhook: str | None = None, **settings: Any) -> str:
        """A bucket of its own for a test, announcing to a webhook."""
        name = f"test-{uuid4().hex[:20]}"
        s3.create_bucket(Bucket=name)
        if webhook:
            answer = self.patch(name, {"enabled": True, "web_hook": webhook, "filter": "", **settings})
            assert answer.status_code == 200, answer.text
        return name

    def patch(self, bucket: str, notifications: object) -> httpx.Response:
        return self.signed("PATCH", f"/{bucket}", json.dumps({"object_notifications": notifications}).encode())

    def signed(self, method: str, path: str, content: bytes = b"") -> httpx.Response:
        request = AWSRequest(method, self.endpoint + path, data=content)
        S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "auto").add_auth(request)
        return self.http.request(method, self.endpoint + path, content=content, headers=dict(request.headers.items()))

    def url(self, method: str, bucket: str, key: str = "", **headers: str) -> str:
        """A presigned URL. ``headers`` are signed with it."""
        keys = SigningKeys(ACCESS_KEY, SECRET_KEY)
        return Presigner(self.endpoint, "auto", keys).url(method, bucket, key, expires_seconds=60, headers=headers)

    def stats(self) -> dict[str, Any]:
        return dict(self.http.get(f"{self.endpoint}/_yurt/stats").json())

    def flush(self, deadline_seconds: float = 20) -> None:
        answer = self.http.post(
            f"{self.endpoint}/_yurt/flush?deadline={deadline_seconds}", timeout=deadline_seconds + 5
        )
        assert answer.status_code == 200, answer.text

    def fault(self, **fault: object) -> None:
        answer = self.http.post(f"{self.endpoint}/_yurt/faults", json=fault)
        assert answer.status_code == 201, answer.text


@contextmanager
def running(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[RunningBucket]:
    """Start ``python -m infra.local`` and end it. Its standard input is its lifeline."""
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.local", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **KEYS, **(environment or {}), ENVIRONMENT: "stdin"},
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"it ended with status {process.wait()}"
            with httpx.Client(timeout=30, trust_env=False) as http:
                yield RunningBucket(json.loads(line)["endpoint"], process, http)
        finally:
            process.terminate()
            process.wait(30)
