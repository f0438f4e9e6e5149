"""Publishing sends what the bucket does not have, and makes a version current at its end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.local.running import RunningBucket
from tests.webhook.models.stored import FOLDER, published, written
from webhook.models.local_files import ChangedMeanwhile, collect, digested
from webhook.models.publish import ModelPublisher
from webhook.storage import StoreError
from workers.models.manifest import ModelManifest, root_of

FILES = {"config.json": b"{}", "onnx/model.onnx": b"weights"}
MIB = 1 << 20


def ignored(_: int) -> None:
    """Counts nothing."""


def keys(s3: Any, bucket: str) -> dict[str, bytes]:
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {each["Key"]: s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in listed}


def test_a_version_lies_below_its_root_and_the_manifest_says_that_it_is_current(
    store: RunningBucket, tmp_path: Path
) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    plan = published(s3, bucket, tmp_path / "m", FILES)
    found = keys(s3, bucket)
    manifest = found.pop(f"{FOLDER}manifest.json")
    assert found == {
        f"{FOLDER}{plan.root}/manifest.json": manifest,
        **{f"{FOLDER}{plan.root}/{path}": content for path, content in FILES.items()},
    }
    assert root_of(manifest) == plan.root
    assert [file.path for file in ModelManifest.decode(manifest).files] == sorted(FILES)
    again = published(s3, bucket, tmp_path / "m", FILES)
    assert (again.send, again.is_current, again.root) == ((), True, plan.root)


def test_an_older_version_becomes_current_again_without_sending_a_byte(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    first = published(s3, bucket, tmp_path / "m", FILES)
    published(s3, bucket, tmp_path / "m", {"config.json": b'{"new": 1}'})
    back = published(s3, bucket, tmp_path / "m", FILES)
    assert (back.root, back.send, back.is_current) == (first.root, (), False)
    assert root_of(keys(s3, bucket)[f"{FOLDER}manifest.json"]) == first.root


def large(folder: Path, mib: int) -> tuple[ModelManifest, list[Any]]:
    files = collect([written(folder, {"big.bin": os.urandom(mib * MIB)})])
    return digested(files, ignored), files


class PublishingKilled(Exception):
    """The command was killed here."""


def interrupting(after: int) -> Callable[[int], None]:
    counts: list[int] = []

    def counted(count: int) -> None:
        counts.append(count)
        if len(counts) >= after:
            raise PublishingKilled

    return counted


def test_an_upload_that_was_interrupted_goes_on_where_it_stopped(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    manifest, files = large(tmp_path / "m", 23)
    publisher = ModelPublisher(s3, bucket, FOLDER, piece_bytes=5 * MIB)
    plan = publisher.plan(manifest, files)
    with pytest.raises(PublishingKilled):
        publisher.publish(manifest, plan, interrupting(2))
    assert keys(s3, bucket) == {}, "nothing is published by half"
    [upload] = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    before = s3.list_parts(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])["Parts"]
    assert before
    counts: list[int] = []
    publisher.publish(manifest, publisher.plan(manifest, files), counts.append)
    assert sum(counts) == 23 * MIB
    assert keys(s3, bucket)[f"{FOLDER}{plan.root}/big.bin"] == (tmp_path / "m/big.bin").read_bytes()
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_a_piece_of_an_interrupted_upload_that_is_wrong_is_sent_again(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    manifest, files = large(tmp_path / "m", 11)
    publisher = ModelPublisher(s3, bucket, FOLDER, piece_bytes=5 * MIB)
    plan = publisher.plan(manifest, files)
    key = f"{FOLDER}{plan.root}/big.bin"
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"w" * 5 * MIB)
    publisher.publish(manifest, plan, ignored)
    assert keys(s3, bucket)[key] == (tmp_path / "m/big.bin").read_bytes()


def test_what_changes_while_it_is_sent_is_not_published(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    files = collect([written(tmp_path / "m", FILES)])
    manifest = digested(files, ignored)
    (tmp_path / "m/config.json").write_bytes(b"other")
    publisher = ModelPublisher(s3, bucket, FOLDER)
    with pytest.raises(ChangedMeanwhile):
        publisher.publish(manifest, publisher.plan(manifest, files), ignored)
    assert not [key for key in keys(s3, bucket) if key.endswith("manifest.json")]


def test_a_store_that_refuses_says_so(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    files = collect([written(tmp_path / "m", FILES)])
    manifest = digested(files, ignored)
    publisher = ModelPublisher(s3, "no-such-bucket", FOLDER)
    plan = publisher.plan(manifest, files)
    with pytest.raises(StoreError, match="404 NoSuchBucket"):
        publisher.publish(manifest, plan, ignored)
    bucket = store.new_bucket(s3)
    store.fault(method="PUT", bucket=bucket, status=403)
    with pytest.raises(StoreError, match="check the keys"):
        published(s3, bucket, tmp_path / "m", FILES)
    assert json.dumps(sorted(keys(s3, bucket))) == "[]"
