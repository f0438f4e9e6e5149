"""Objects, waiting and pages by both clients: what the `blocking` and the `asynchronous` one share."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tests.infra.local.running import RunningBucket as LocalStore
from tests.polling import until
from tests.webhook.apps import app_of, settle
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import configured, control_plane, event, pipeline
from tests.webhook.settlements import failed
from tests.yurt.client.clients import both
from yurt import NotReachable, ObjectUnknown, OutputMissing, Refused, WaitTimeout
from yurt.client.objects import quote_key

AWKWARD = "ü 🏕/.a+b&c?d#e%2F f;=@:'\"//.jpg"


async def test_an_object_is_waited_for(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane, both(plane.url, (await app_of(plane)).secret) as clients:
        for number, client in enumerate(clients):
            key = f"{number}/{AWKWARD}"
            with pytest.raises(ObjectUnknown, match="no event of it has come yet") as unknown:
                await client.object("photos", key)
            assert (unknown.value.status, unknown.value.code) == (404, "unknown-object")
            waiting = asyncio.create_task(client.wait("photos", key))
            await until(lambda: plane.plane.objects.waiting == 1)
            await settle(plane, key)
            found = await waiting
            assert (found.pipeline, found.key, found.state, found.outcome) == ("photos", key, "done", "done")
            assert found.progress is None
            assert found.result.etag == "e"
            assert found.updated_at.tzinfo is not None
            assert await client.object("photos", key, wait_seconds=5) == found
            with pytest.raises(ObjectUnknown):
                await client.object("photos", f"x/../{key}")  # another key, not this one
            with pytest.raises(OutputMissing, match="it has no files"):
                found.result.file("thumb.webp")


async def test_an_object_that_is_parked_or_not_settled(postgres_dsn: str) -> None:
    slow = configured({"photos": pipeline(conditions="quoted", backoff_seconds=60)})
    async with control_plane(postgres_dsn, slow) as plane, both(plane.url, (await app_of(plane)).secret) as clients:
        worker = await plane.worker()
        for client in clients:
            key = f"{id(client)}.jpg"
            await plane.notify(event(key))
            with pytest.raises(WaitTimeout, match=f"{key} of photos was not settled within 0.1 s: it is queued"):
                await client.wait("photos", key, timeout_seconds=0.1)
            with pytest.raises(WaitTimeout, match="does the bucket notify your control plane"):
                await client.wait("photos", "absent.jpg", timeout_seconds=0.1)
            with pytest.raises(OutputMissing, match=r"has no result: it is pending. Use wait"):
                await client.read_output("photos", key, "thumb.webp")
            why = {"reason": "unreadable", "message": "This is no photo."}
            await worker.ask(most=0, settle=[failed(await worker.lease(), retry=False, **why)])
            parked = await client.wait("photos", key)
            assert (parked.outcome, parked.result) == ("parked", None)
            assert (parked.error.reason, parked.error.message) == ("unreadable", "This is no photo.")


async def test_all_pages_are_read(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn, loops=False) as plane,
        both(plane.url, (await app_of(plane)).secret) as clients,
    ):
        keys = [f"a/{number:04}.jpg" for number in range(201)]
        await plane.notify(*map(event, [*keys, "b.jpg"]))
        for client in clients:
            assert [found.key async for found in client.objects("photos", prefix="a/")] == keys
            assert [found.outcome async for found in client.objects("photos", prefix="b")] == [None]


async def test_an_object_is_deleted_from_the_input(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    config = buckets.configured(suffixes=[".jpg"])
    async with control_plane(postgres_dsn, config, loops=False, store=store.endpoint) as plane:
        token = (await app_of(plane, "delete:photos")).secret
        async with both(plane.url, token) as clients:
            for client in clients:
                buckets.s3.put_object(Bucket=buckets.inputs, Key=AWKWARD, Body=b"photo")
                for _ in range(2):
                    assert await client.delete("photos", AWKWARD) is None
                assert buckets.s3.list_objects_v2(Bucket=buckets.inputs)["KeyCount"] == 0
                with pytest.raises(Refused, match="does not watch this key") as refused:
                    await client.delete("photos", "a.txt")
                assert refused.value.code == "outside-pipeline"


async def test_refusals_say_what_to_do_and_show_no_token(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        reader = (await app_of(plane, "read:photos")).secret
        async with both(plane.url, reader) as readers, both(plane.url, "yurt_app_forged") as strangers:
            for client in readers:
                with pytest.raises(Refused, match=r"yurt tokens create NAME --scope upload:photos\.") as refused:
                    await client.ticket("photos")
                assert refused.value.code == "scope-missing"
            for client in strangers:
                with pytest.raises(Refused, match="this token is unknown: make one with yurt tokens create") as refused:
                    await client.object("photos", "a.jpg")
                assert "forged" not in repr(refused.value)
            for wait_seconds in (-1, 61):
                with pytest.raises(ValueError, match="use wait"):
                    await readers[1].object("photos", "a.jpg", wait_seconds=wait_seconds)
            with pytest.raises(ValueError, match="more than 0"):
                await readers[1].wait("photos", "a.jpg", timeout_seconds=float("inf"))
            with pytest.raises(TypeError, match=r"content_types=\['image/\*'\]"):
                await readers[1].ticket("photos", content_types="image/*")


async def test_a_ledger_that_is_away_is_waited_for(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        token = (await app_of(plane)).secret
        await plane.notify(event("a.jpg"))
        administrator = await asyncpg.connect(postgres_dsn)
        [name] = [row["name"] for row in await plane.sql("select current_database() as name")]
        await administrator.execute(f'alter database "{name}" allow_connections false')
        await administrator.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
        async with both(plane.url, token, retry_seconds=0) as hasty, both(plane.url, token) as patient:
            for client in hasty:
                with pytest.raises(NotReachable, match=r"answered 503: .*send it again") as away:
                    await client.object("photos", "a.jpg")
                assert not isinstance(away.value, Refused)
            waiting = [asyncio.create_task(client.object("photos", "a.jpg")) for client in patient]
            await administrator.execute(f'alter database "{name}" allow_connections true')
            await administrator.close()
            assert {found.state for found in await asyncio.gather(*waiting)} == {"pending"}


def test_dots_that_are_segments_stay_in_a_path() -> None:
    assert quote_key("a/../b c/.d/./e.jpg") == "a/%2E%2E/b%20c/.d/%2E/e.jpg"
