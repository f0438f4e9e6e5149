"""A webhook receiver; a local bucket in which each test makes an S3 bucket of its own; a stack without workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from types_boto3_s3.client import S3Client

from infra.stack import Stack
from infra.stack import running as running_stack
from tests.infra.local.running import RunningBucket, running
from tests.infra.receiver import RecordingReceiver
from webhook.config_file import load
from workers.handlers.registry import options_model

CONFIG = """
[server]
listen = "127.0.0.1:0"
[pipelines.photos]
input = "s3://photos-in/uploads/"
output = "s3://photos-out/results/"
[pools.local]
provider = "none"
"""


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


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    path = folder / "yurt.toml"
    path.write_text(CONFIG)
    with running_stack(load(path, options_model), path, folder / "state") as running_services:
        yield running_services
