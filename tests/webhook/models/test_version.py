"""A version of a model is found by its manifest, by its root, or as plain objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infra.local.running import RunningBucket
from tests.webhook.models.stored import FOLDER, model, published
from tests.webhook.storage.clients import opened
from webhook.models import version
from webhook.models.version import ModelMissing, ModelVersion
from webhook.storage import StoreError


async def current(store: RunningBucket, bucket: str, prefix: str = "safety", **more: object) -> ModelVersion:
    async with opened(store.endpoint) as client:
        return await version.current(client, "safety", model(bucket, prefix, **more))


async def test_what_was_published_last_is_current_and_a_root_pins_one(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    first, second = (published(s3, bucket, tmp_path / "m", {"a.onnx": content}).root for content in (b"1", b"22"))
    found = await current(store, bucket)
    assert (found.ref.root, found.ref.size, found.ref.name) == (second, 2, "safety")
    assert [(file.path, file.key, file.etag) for file in found.files] == [("a.onnx", f"{FOLDER}{second}/a.onnx", None)]
    assert (await current(store, bucket, root=first)).ref.root == first
    with pytest.raises(ModelMissing, match="yurt models list safety"):
        await current(store, bucket, root="0" * 64)


async def test_plain_objects_are_known_by_their_etags(store: RunningBucket) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    for key in ("hub/config.json", "hub/onnx/model.onnx", "hub/", "single.onnx"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" if key[-1] != "/" else b"")
    folder, single = await current(store, bucket, "hub"), await current(store, bucket, "single.onnx")
    assert [file.path for file in folder.files] == ["config.json", "onnx/model.onnx"]
    assert [file.path for file in single.files] == ["single.onnx"]
    assert folder.manifest_key is None
    assert all(file.etag for file in (*folder.files, *single.files))
    s3.put_object(Bucket=bucket, Key="single.onnx", Body=b"y")
    assert (await current(store, bucket, "single.onnx")).ref.root != single.ref.root


async def test_what_is_no_model_says_what_to_do(store: RunningBucket) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    with pytest.raises(ModelMissing, match="yurt models publish safety FILE"):
        await current(store, bucket)
    s3.put_object(Bucket=bucket, Key="odd/a\nb", Body=b"x")
    with pytest.raises(ModelMissing, match="no paths of files"):
        await current(store, bucket, "odd")
    for content in (b"{", b'{"files": []}', b"[" * 100_000):
        s3.put_object(Bucket=bucket, Key=f"{FOLDER}manifest.json", Body=content)
        with pytest.raises(ModelMissing, match="publish the model again"):
            await current(store, bucket)
    with pytest.raises(StoreError, match="no bucket"):
        await current(store, "no-such-bucket")


async def test_a_version_that_is_being_published_is_not_there_yet(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    root = published(s3, bucket, tmp_path / "m", {"config.json": b"{}", "model.onnx": b"1"}).root
    for key in (f"{FOLDER}manifest.json", f"{FOLDER}{root}/manifest.json", f"{FOLDER}{root}/model.onnx"):
        s3.delete_object(Bucket=bucket, Key=key)  # as before each was written
        with pytest.raises(ModelMissing, match="is being published"):
            await current(store, bucket)


async def test_a_manifest_that_was_changed_below_its_root_is_refused(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    first, second = (published(s3, bucket, tmp_path / "m", {"a.onnx": content}).root for content in (b"1", b"22"))
    copied = s3.get_object(Bucket=bucket, Key=f"{FOLDER}{second}/manifest.json")["Body"].read()
    s3.put_object(Bucket=bucket, Key=f"{FOLDER}{first}/manifest.json", Body=copied)
    with pytest.raises(ModelMissing, match="has been changed"):
        await current(store, bucket, root=first)
