"""Stores that take headers which a presigned PUT does not sign: found out, and nothing is published there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.infra.local.running import ACCESS_KEY, PUBLISH_KEY, PUBLISH_SECRET, SECRET_KEY, RunningBucket
from tests.webhook.buckets import BucketPair
from webhook.config import Pipeline, Place
from webhook.outputs.conditions import Conditions, Style
from webhook.outputs.unsigned_headers import Looseness, Taken, UnsignedHeaders, probe, refusal
from webhook.storage import ObjectStore, StoreError
from webhook.storage.presign import SigningKeys

OWNER, PUBLISHER = SigningKeys(ACCESS_KEY, SECRET_KEY), SigningKeys(PUBLISH_KEY, PUBLISH_SECRET)


@contextlib.asynccontextmanager
async def opened(store: RunningBucket, publisher: SigningKeys | None = None) -> AsyncIterator[ObjectStore]:
    client = ObjectStore(store.endpoint, "auto", OWNER, publisher=publisher, attempts=1)
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.contextmanager
def like_ceph(store: RunningBucket, bucket: str) -> Iterator[None]:
    store.fault(method="PUT", bucket=bucket, effect="unsigned-headers", times=1_000)
    yield
    store.http.delete(f"{store.endpoint}/_yurt/faults")


def pipeline(buckets: BucketPair, **more: object) -> Pipeline:
    given = {"input": f"s3://{buckets.inputs}/", "output": f"s3://{buckets.outputs}/made/", **more}
    return Pipeline.model_validate(given)


@pytest.mark.parametrize(
    ("ceph", "publisher", "taken"),
    [(False, None, Taken.NOTHING), (True, None, Taken.COPIES), (True, PUBLISHER, Taken.HEADERS)],
)
async def test_what_a_store_takes_is_found_out(
    store: RunningBucket, ceph: bool, publisher: SigningKeys | None, taken: Taken
) -> None:
    buckets = BucketPair.made(store)
    async with opened(store, publisher) as client:
        with like_ceph(store, buckets.outputs) if ceph else contextlib.nullcontext():
            found = await probe(client, Place(bucket=buckets.outputs, prefix="made/"))
        assert found == Looseness(taken, fixes_length=True)
    assert not buckets.keys()


async def test_a_store_that_fails_is_no_finding(store: RunningBucket) -> None:
    buckets = BucketPair.made(store)
    async with opened(store) as client:
        store.fault(method="PUT", bucket=buckets.outputs, status=503)
        with pytest.raises(StoreError):
            await probe(client, Place(bucket=buckets.outputs))
    nowhere = ObjectStore("http://127.0.0.1:1", "auto", OWNER, attempts=1)
    with pytest.raises(StoreError, match="refused"):
        await nowhere.put_presigned("photos-out", "a", b"", {})
    await nowhere.aclose()


async def test_a_pipeline_is_refused_until_its_store_is_another(store: RunningBucket) -> None:
    buckets = BucketPair.made(store)
    photos = pipeline(buckets, conditions="quoted")
    async with opened(store) as client:
        conditions = Conditions([photos], client)
        with like_ceph(store, buckets.outputs):
            await conditions.probe_unsigned()
            assert "YURT_PUBLISH_ACCESS_KEY_ID" in conditions.refusal(photos)
            await conditions.probe_refused_again()
            assert conditions.refusal(photos)
        await conditions.probe_refused_again()
        assert conditions.refusal(photos) == ""
        assert await conditions.style(photos) is Style.QUOTED
        await conditions.aclose()


async def test_outputs_are_staged_where_so_configured_and_nothing_can_be_copied(store: RunningBucket) -> None:
    buckets = BucketPair.made(store)
    staged = pipeline(buckets, conditions="quoted", unsigned_headers="stage")
    for publisher, style, refused in ((PUBLISHER, Style.NONE, False), (None, Style.QUOTED, True)):
        async with opened(store, publisher) as client:
            conditions = Conditions([staged], client)
            with like_ceph(store, buckets.outputs):
                assert await conditions.style(staged) is style
            assert bool(conditions.refusal(staged)) is refused
            await conditions.aclose()


async def test_a_store_that_is_trusted_is_not_tried(store: RunningBucket) -> None:
    buckets = BucketPair.made(store)
    trusting = pipeline(buckets, conditions="quoted", unsigned_headers="trust")
    nowhere = ObjectStore("http://127.0.0.1:1", "auto", OWNER, attempts=1)
    headers = UnsignedHeaders(nowhere)
    assert await headers.taken(trusting) is Taken.NOTHING
    assert headers.refusal(trusting) == ""
    await Conditions([trusting], nowhere).probe_unsigned()
    await nowhere.aclose()


def test_a_refusal_says_what_to_do() -> None:
    place = {"input": "s3://photos-in/", "output": "s3://photos-out/"}
    refusing, staging = (Pipeline.model_validate({**place, "unsigned_headers": how}) for how in ("refuse", "stage"))
    assert 'unsigned_headers = "stage"' in refusal(refusing, Taken.HEADERS)
    assert refusal(staging, Taken.HEADERS) == refusal(refusing, Taken.NOTHING) == ""
    assert "read nothing" in refusal(staging, Taken.COPIES)
