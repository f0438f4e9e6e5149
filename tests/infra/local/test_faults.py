from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
from botocore.exceptions import ClientError
from types_boto3_s3.client import S3Client

from tests.infra.local.running import RunningBucket
from tests.infra.receiver import RecordingReceiver


@pytest.fixture(autouse=True)
def _well_again(local: RunningBucket) -> Iterator[None]:
    yield
    assert local.http.delete(f"{local.endpoint}/_yurt/faults").status_code == 204


@pytest.mark.parametrize(
    ("status", "code"),
    [(408, "RequestCanceled"), (429, "TooManyRequests"), (500, "InternalError"), (503, "SlowDown")],
)
def test_a_request_is_answered_as_asked_for_and_not_carried_out(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver, status: int, code: str
) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    local.fault(method="PUT", bucket=bucket, status=status)
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=bucket, Key="a", Body=b"hello")
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="b", Body=b"hello")
    local.flush()
    assert receiver.names_and_keys == [("OBJECT_CREATED_PUT", "b")]


def test_a_fault_happens_so_often_and_only_to_its_kind(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    s3.put_object(Bucket=bucket, Key="in/a", Body=b"hello")
    s3.put_object(Bucket=bucket, Key="out/a", Body=b"hello")
    local.fault(method="GET", bucket=bucket, key_prefix="in/", status=503, times=2)
    s3.get_object(Bucket=bucket, Key="out/a")
    s3.head_object(Bucket=bucket, Key="in/a")
    (listed,) = local.http.get(f"{local.endpoint}/_yurt/faults").json()
    assert listed["times"] == 2
    for _ in range(2):
        with pytest.raises(ClientError):
            s3.get_object(Bucket=bucket, Key="in/a")
    s3.get_object(Bucket=bucket, Key="in/a")
    assert local.http.get(f"{local.endpoint}/_yurt/faults").json() == []


def test_a_slow_answer_is_the_real_one(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello")
    local.fault(method="GET", bucket=bucket, delay_seconds=0.3)
    started = time.monotonic()
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"hello"
    assert time.monotonic() - started >= 0.3


def test_a_hanging_request_holds_up_no_other(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    local.fault(method="PUT", bucket=bucket, key_prefix="slow", delay_seconds=60)
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "slow"})
    with pytest.raises(httpx.ReadTimeout):
        local.http.put(url, content=b"hello", timeout=0.2)
    s3.put_object(Bucket=bucket, Key="quick", Body=b"hello")


def test_a_lost_answer_hides_that_the_write_took_place(
    local: RunningBucket, s3: S3Client, receiver: RecordingReceiver
) -> None:
    bucket = local.new_bucket(s3, receiver.url)
    local.fault(method="PUT", bucket=bucket, status=500, effect="done")
    with pytest.raises(ClientError):
        s3.put_object(Bucket=bucket, Key="a", Body=b"hello")
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"hello"
    local.flush()
    assert receiver.names_and_keys == [("OBJECT_CREATED_PUT", "a")]


def test_a_stale_read_is_a_replica_that_is_behind(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    old = s3.put_object(Bucket=bucket, Key="a", Body=b"old")["ETag"]
    local.fault(method="GET", bucket=bucket, effect="stale", times=2)
    s3.put_object(Bucket=bucket, Key="a", Body=b"new")
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"old"
    with pytest.raises(ClientError) as unchanged:
        s3.get_object(Bucket=bucket, Key="a", IfNoneMatch=old)
    assert unchanged.value.response["ResponseMetadata"]["HTTPStatusCode"] == 304
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"new"


def test_a_listing_fails_midway_and_no_object_with_it(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    for key in "abc":
        s3.put_object(Bucket=bucket, Key=key, Body=b"hello")
    local.fault(bucket=bucket, listing=True, status=503, after=1)
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=2)["IsTruncated"]
    s3.get_object(Bucket=bucket, Key="a")
    with pytest.raises(ClientError):
        s3.list_objects_v2(Bucket=bucket, StartAfter="b")
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, StartAfter="b")["Contents"]] == ["c"]


def test_a_listing_ends_too_early(local: RunningBucket, s3: S3Client) -> None:
    bucket = local.new_bucket(s3)
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello")
    local.fault(bucket=bucket, listing=True, effect="empty")
    said = s3.list_objects_v2(Bucket=bucket)
    assert (said.get("Contents"), said["IsTruncated"]) == (None, False)
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 200},
        {"status": 500, "times": 0},
        {"status": 500, "delay_seconds": -1},
        {"status": 500, "method": "get"},
        {"status": 500, "unknown": 1},
        {"effect": "done"},
        {"effect": "stale", "method": "PUT"},
        {"effect": "stale", "method": "GET", "status": 500},
        {"effect": "empty"},
        {"effect": "empty", "listing": True, "status": 500},
        {"status": 500, "after": -1},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(local: RunningBucket, fault: dict[str, object]) -> None:
    assert local.http.post(f"{local.endpoint}/_yurt/faults", json=fault).status_code == 400


def test_there_is_room_for_so_many(local: RunningBucket) -> None:
    for _ in range(100):
        local.fault(bucket="nowhere", status=500)
    assert local.http.post(f"{local.endpoint}/_yurt/faults", json={"status": 500}).status_code == 409
