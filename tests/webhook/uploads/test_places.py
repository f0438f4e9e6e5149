"""What stores do with uploads is found out before the first one, which is refused where it would not be safe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.local.running import RunningBucket as LocalStore
from tests.webhook.apps import app_of
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import control_plane, pipeline
from webhook.config import Pipeline
from webhook.outputs.unsigned_headers import Taken
from webhook.uploads.places import CreateOnly, UploadRules, refusal


@contextlib.contextmanager
def faulty(store: LocalStore, **fault: Any) -> Iterator[None]:
    store.fault(times=1_000, **fault)
    yield
    store.http.delete(f"{store.endpoint}/_yurt/faults")


async def test_nothing_is_uploaded_where_a_browser_could_copy(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    config = buckets.configured(unsigned_headers="refuse")
    async with control_plane(postgres_dsn, config, store=store.endpoint, loops=False) as plane:
        browser = await (await app_of(plane)).ticket()
        with faulty(store, method="PUT", bucket=buckets.inputs, effect="unsigned-headers"):
            assert await browser.refused(size=1) == (409, "uploads-refused")
        [row] = await plane.sql("select used from upload_tickets")
        assert row["used"] == 0
        assert "Contents" not in buckets.s3.list_objects_v2(Bucket=buckets.inputs), "nothing stays of the trial"


async def test_a_store_that_fails_is_tried_again(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with control_plane(postgres_dsn, buckets.configured(), store=store.endpoint, loops=False) as plane:
        browser = await (await app_of(plane)).ticket()
        with faulty(store, method="PUT", bucket=buckets.inputs, status=403):
            response = await browser.call("POST", "/v1/uploads", json={"size": 1})
            assert (response.status_code, response.json()["error"]) == (503, "store-unavailable")
            assert "docs/keys.md" in response.json()["message"]
        await browser.upload(size=1)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_pipeline_that_trusts_its_store_is_not_refused(trusted: bool) -> None:
    given = pipeline(unsigned_headers="trust" if trusted else "refuse")
    rules = UploadRules(Taken.HEADERS, CreateOnly.HONOURED)
    assert bool(refusal(Pipeline.model_validate(given), rules)) != trusted
    assert not refusal(Pipeline.model_validate(given), UploadRules(Taken.NOTHING, CreateOnly.IGNORED))
