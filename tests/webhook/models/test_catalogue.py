"""The catalogue gives leases the current version, keeps what it found, and signs URLs that work."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.infra.local.running import RunningBucket
from tests.webhook.models.stored import model, published
from tests.webhook.storage.clients import opened
from webhook.config import Pipeline
from webhook.models.catalogue import ModelCatalogue
from workers.models.manifest import root_of

WITH = Pipeline.model_validate({"input": "s3://inbox/", "output": "s3://outbox/", "models": ["safety"]})
WITHOUT = Pipeline.model_validate({"input": "s3://inbox/", "output": "s3://outbox/"})


async def test_work_is_withheld_until_the_model_is_there(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    async with opened(store.endpoint) as client:
        catalogue = ModelCatalogue({"safety": model(bucket)}, client)
        assert "not been looked for" in catalogue.refusal(WITH)
        await catalogue.look()
        assert "yurt models publish safety" in catalogue.refusal(WITH)
        assert catalogue.refusal(WITHOUT) == ""
        root = published(s3, bucket, tmp_path / "m", {"a": b"1"}).root
        await catalogue.look()
        assert catalogue.refusal(WITH) == ""
        assert [(ref.name, ref.root, ref.size) for ref in catalogue.refs(["safety"])] == [("safety", root, 1)]


async def test_a_new_version_serves_new_leases_and_an_old_one_can_still_be_fetched(
    store: RunningBucket, tmp_path: Path
) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    async with opened(store.endpoint) as client:
        catalogue, restarted = (ModelCatalogue({"safety": model(bucket)}, client) for _ in range(2))
        old = published(s3, bucket, tmp_path / "m", {"a": b"1"}).root
        await catalogue.look()
        new = published(s3, bucket, tmp_path / "m", {"a": b"22"}).root
        await catalogue.look()
        await restarted.look()
        assert [ref.root for ref in catalogue.refs(["safety"])] == [new]
        for each in (catalogue, restarted):
            found = await each.sources(["safety"], old)
            assert found is not None
            assert found.root == old
        assert await catalogue.sources(["safety"], "0" * 64) is None
        assert await catalogue.sources([], new) is None


async def test_signed_urls_give_manifest_and_ranges_of_files(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    root = published(s3, bucket, tmp_path / "m", {"a b/weights (1).bin": b"0123456789"}).root
    async with opened(store.endpoint) as client, httpx.AsyncClient() as http:
        catalogue = ModelCatalogue({"safety": model(bucket)}, client)
        await catalogue.look()
        found = await catalogue.sources(["safety"], root)
        assert found is not None
        assert found.manifest is not None
        assert root_of((await http.get(found.manifest.url)).content) == root
        [file] = found.files
        assert (file.path, file.size, file.etag) == ("a b/weights (1).bin", 10, None)
        answer = await http.get(file.download.url, headers={**file.download.headers, "range": "bytes=2-4"})
        assert (answer.status_code, answer.content) == (206, b"234")


async def test_a_model_that_was_found_stays_where_the_store_fails_later(store: RunningBucket, tmp_path: Path) -> None:
    s3 = store.s3()
    bucket = store.new_bucket(s3)
    root = published(s3, bucket, tmp_path / "m", {"a": b"1"}).root
    async with opened(store.endpoint) as client:
        catalogue = ModelCatalogue({"safety": model(bucket)}, client)
        await catalogue.look()
        for status in (503, 403):
            store.fault(method="HEAD", bucket=bucket, status=status)
            await catalogue.look()
            assert [ref.root for ref in catalogue.refs(["safety"])] == [root]
        s3.put_object(Bucket=bucket, Key="safety/manifest.json", Body=b"broken")
        await catalogue.look()
        assert [ref.root for ref in catalogue.refs(["safety"])] == [root]
