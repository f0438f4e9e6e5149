"""One orderly local bucket, in which each test makes an S3 bucket of its own; and a webhook receiver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from types_boto3_s3.client import S3Client

from tests.infra.local.running import RunningBucket, running
from tests.infra.receiver import RecordingReceiver


@pytest.fixture
def receiver() -> Iterator[RecordingReceiver]:
    with RecordingReceiver() as recording:
        yield recording


@pytest.fixture(scope="session")
def local() -> Iterator[RunningBucket]:
    arguments = ("--bucket", "photos-in", "--stamps", "--region-delay", "far=1", "--max-body-bytes", "20000000")
    with running(*arguments) as process:
        yield process


@pytest.fixture(scope="session")
def s3(local: RunningBucket) -> S3Client:
    return local.s3()
