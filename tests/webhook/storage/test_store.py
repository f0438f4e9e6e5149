"""The store's client against a real S3 over HTTP that has faults."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from tests.infra.local.running import RunningBucket as LocalStore
from tests.stream_server import stream_server
from tests.webhook.buckets import BucketPair
from tests.webhook.storage.clients import opened
from webhook.storage import PreconditionFailed, StoreError

FAULTS = {401: False, 403: False, 408: True, 429: True, 500: True, 502: True, 503: True}
"""Whether to ask again can help."""


async def test_head_tells_what_is_there(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    etag = buckets.put("a b.jpg", b"hello", {"yurt-token": "17"})
    async with opened(store.endpoint) as it:
        found = await it.head(buckets.outputs, "a b.jpg")
        assert found is not None
        assert (found.etag, found.size, dict(found.metadata)) == (etag, 5, {"yurt-token": "17"})
        assert found.modified.tzinfo is not None
        assert await it.head(buckets.outputs, "nothing") is None
        assert await it.head("no-such-bucket", "nothing") is None


@pytest.mark.parametrize(("status", "again"), FAULTS.items())
async def test_a_fault_is_an_error_and_never_an_absence(store: LocalStore, status: int, again: bool) -> None:
    buckets = BucketPair.made(store)
    etag = buckets.put("a.jpg")
    async with opened(store.endpoint) as it:
        calls: list[Callable[[], Awaitable[object]]] = [
            partial(it.head, buckets.outputs, "a.jpg"),
            partial(it.delete, buckets.outputs, "a.jpg", etag),
            partial(it.check_bucket, buckets.outputs),
        ]
        for call in calls:
            store.fault(bucket=buckets.outputs, status=status)
            with pytest.raises(StoreError, match=str(status)) as caught:
                await call()
            assert caught.value.retry is again
            assert "secret" not in str(caught.value)
        assert buckets.keys() == {"a.jpg"}


async def test_a_fault_that_passes_is_not_seen(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    buckets.put("a.jpg")
    async with opened(store.endpoint, attempts=2) as it:
        store.fault(bucket=buckets.outputs, status=503)
        assert await it.head(buckets.outputs, "a.jpg")


async def test_a_store_that_hangs_or_is_not_there_is_an_error_in_time(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with opened(store.endpoint, answer_seconds=0.2) as it:
        store.fault(bucket=buckets.outputs, delay_seconds=3)
        with pytest.raises(StoreError, match="does not answer: ReadTimeoutError") as caught:
            await it.head(buckets.outputs, "a.jpg")
        assert caught.value.retry
    async with opened("http://127.0.0.1:9") as it:
        with pytest.raises(StoreError, match="does not answer: the connection is refused"):
            await it.head(buckets.outputs, "a.jpg")


async def test_a_missing_object_is_none_also_where_a_fault_says_so(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    buckets.put("a.jpg")
    async with opened(store.endpoint) as it:
        store.fault(method="HEAD", bucket=buckets.outputs, status=404)
        assert await it.head(buckets.outputs, "a.jpg") is None


async def test_reach_tells_which_bucket_is_missing(store: LocalStore) -> None:
    async with opened(store.endpoint) as it:
        await it.check_bucket(BucketPair.made(store).inputs)
        with pytest.raises(StoreError, match="there is no bucket 'no-such-bucket'") as caught:
            await it.check_bucket("no-such-bucket")
        assert not caught.value.retry


async def test_put_new_never_replaces(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with opened(store.endpoint) as it:
        etag = await it.put_new(buckets.outputs, "probe", b"mine")
        with pytest.raises(PreconditionFailed):
            await it.put_new(buckets.outputs, "probe", b"other")
        with pytest.raises(StoreError, match="there is no bucket 'no-such-bucket'"):
            await it.put_new("no-such-bucket", "probe", b"")
        await it.delete(buckets.outputs, "probe", etag)
        assert not buckets.keys()


async def test_put_over_replaces_only_what_is_meant(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    etag = buckets.put("a.jpg", b"old")
    async with opened(store.endpoint) as it:
        newer = await it.put_over(buckets.outputs, "a.jpg", b"new", f'"{etag}"')
        assert newer != etag
        for key in ("a.jpg", "nothing"):
            with pytest.raises(PreconditionFailed):
                await it.put_over(buckets.outputs, key, b"newest", f'"{etag}"')


async def test_names_are_those_directly_below(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    etag = buckets.put("a.jpg/256.webp", b"hello")
    for key in ("a.jpg/b.jpg/256.webp", "a.jpg/b.jpg/512.webp", "a.jpgs/256.webp", "a.jpg/512.webp", "a.jpg"):
        buckets.put(key)
    async with opened(store.endpoint) as it:
        first, second = await it.list_children(buckets.outputs, "a.jpg/", 10)
        assert (first.key, first.etag, first.size, second.key) == ("a.jpg/256.webp", etag, 5, "a.jpg/512.webp")
        assert len(await it.list_children(buckets.outputs, "a.jpg/", 1)) == 1
        assert await it.list_children(buckets.outputs, "b.jpg/", 1) == []
        with pytest.raises(StoreError, match="there is no bucket"):
            await it.list_children("no-such-bucket", "a/", 1)


@pytest.mark.parametrize(("tier", "archived"), [("STANDARD", False), ("GLACIER", True), ("GLACIER_IR", False)])
async def test_an_archived_object_is_told_and_restored(store: LocalStore, tier: Any, archived: bool) -> None:
    buckets = BucketPair.made(store)
    buckets.s3.put_object(Bucket=buckets.outputs, Key="a.jpg", Body=b"hello", StorageClass=tier)
    async with opened(store.endpoint) as it:
        found = await it.head(buckets.outputs, "a.jpg")
        assert found is not None
        assert found.archived is archived
        if archived:
            await it.restore(buckets.outputs, "a.jpg", 1)
            await it.restore(buckets.outputs, "a.jpg", 1)  # again: fine
            store.fault(method="POST", bucket=buckets.outputs, status=409)  # RestoreAlreadyInProgress
            await it.restore(buckets.outputs, "a.jpg", 1)
            found = await it.head(buckets.outputs, "a.jpg")
            assert found is not None
            assert not found.archived
        with pytest.raises(StoreError, match="went away"):
            await it.restore(buckets.outputs, "nothing", 1)


async def test_the_clocks_are_compared(store: LocalStore) -> None:
    async with opened(store.endpoint) as it:
        bucket = BucketPair.made(store).outputs
        assert abs((await it.clock_offset(bucket)).total_seconds()) < 5
        with pytest.raises(StoreError, match="there is no bucket"):
            await it.clock_offset("no-such-bucket")


async def test_only_what_was_meant_is_deleted(store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    etag = buckets.put("a.jpg", b"old")
    async with opened(store.endpoint) as it:
        newer = buckets.put("a.jpg", b"new")
        with pytest.raises(PreconditionFailed):
            await it.delete(buckets.outputs, "a.jpg", etag)
        assert buckets.keys() == {"a.jpg"}
        await it.delete(buckets.outputs, "a.jpg", newer)
        assert not buckets.keys()
        await it.delete(buckets.outputs, "a.jpg", newer)  # gone already: fine
        buckets.put("b.jpg")
        await it.delete(buckets.outputs, "b.jpg", "")  # of any ETag
        assert not buckets.keys()


async def test_an_object_that_changes_between_the_look_and_the_delete_stays(store: LocalStore) -> None:
    """The condition goes with the DELETE too."""
    buckets = BucketPair.made(store)
    etag = buckets.put("a.jpg")
    async with opened(store.endpoint) as it:
        store.fault(method="DELETE", bucket=buckets.outputs, status=412)
        with pytest.raises(PreconditionFailed):
            await it.delete(buckets.outputs, "a.jpg", etag)
        store.fault(method="DELETE", bucket=buckets.outputs, status=404)  # another process was faster
        await it.delete(buckets.outputs, "a.jpg", etag)


class GoStore:
    """Answers as a store written in Go does: header names in their canonical case. Records what it is asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
                delete = self.asked[-1].startswith(b"DELETE")
                writer.write(
                    b"HTTP/1.1 204 No Content\r\n\r\n"
                    if delete
                    else b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nEtag: "e"\r\nX-Amz-Meta-Yurt-Token: 17\r\n'
                    b"Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nDate: Wed, 21 Oct 2015 07:30:05 GMT\r\n\r\n"
                )


async def test_header_names_have_no_case_and_deletes_carry_their_condition() -> None:
    go = GoStore()
    async with stream_server(go) as port, opened(f"http://127.0.0.1:{port}") as it:
        found = await it.head("photos", "a.jpg")
        assert found is not None
        assert (found.etag, dict(found.metadata)) == ("e", {"yurt-token": "17"})
        assert found.age_seconds == 125, "by the store's clock, whatever ours shows"
        await it.delete("photos", "a.jpg", "e")
        assert b'\r\nIf-Match: "e"\r\n' in go.asked[-1]
        assert b"\r\nX-Amz-Security-Token: session_secret\r\n" in go.asked[-1]
        assert not any(b"tsec_test" in asked for asked in go.asked)
        with pytest.raises(PreconditionFailed):
            await it.delete("photos", "a.jpg", "older")
        assert go.asked[-1].startswith(b"HEAD ")  # not left to a store that may ignore the condition
