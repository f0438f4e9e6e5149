"""Objects that an app deletes: what is gone from the bucket, and what of it is refused."""

from __future__ import annotations

from urllib.parse import quote

import httpx

from tests.infra.local.running import RunningBucket
from tests.webhook.apps import App, app_of, listening
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import control_plane, event

AWKWARD = "users/ü 🏕/a+b&c?d#e%2F f;=@:'\".jpg"


async def deleted(app: App, key: str, pipeline: str = "photos") -> tuple[int, str]:
    """Status of the answer, and the code of its problem."""
    response = await app.call("DELETE", f"/v1/objects/{pipeline}/{quote(key)}")
    return response.status_code, response.json().get("error", "")


async def test_an_object_is_deleted_from_the_bucket_and_told_as_gone(postgres_dsn: str, store: RunningBucket) -> None:
    pair = BucketPair.made(store)
    async with control_plane(postgres_dsn, pair.configured(absent_checks=1), store=store.endpoint) as plane:
        app = await app_of(plane, "delete:photos", "read:photos", "upload:photos")
        for key in (AWKWARD, "b.jpg"):
            pair.s3.put_object(Bucket=pair.inputs, Key=key, Body=b"photo")
        assert await deleted(app, AWKWARD) == (200, "")
        assert await deleted(app, AWKWARD) == (200, ""), "may be repeated"
        assert [item["Key"] for item in pair.s3.list_objects_v2(Bucket=pair.inputs)["Contents"]] == ["b.jpg"]
        async with listening(app) as stream:
            await plane.notify(event(AWKWARD, bucket=pair.inputs, eventName="OBJECT_DELETED"))
            told = await stream.next()
        assert (told.data["key"], told.data["state"]) == (AWKWARD, "gone")


async def test_only_what_the_token_and_the_pipeline_are_for_is_deleted(postgres_dsn: str, store: RunningBucket) -> None:
    pair = BucketPair.made(store)
    config = pair.configured(suffixes=[".jpg"])
    async with control_plane(postgres_dsn, config, loops=False, store=store.endpoint) as plane:
        for key in ("a.jpg", "a.txt"):
            pair.s3.put_object(Bucket=pair.inputs, Key=key, Body=b"photo")
        reader, app = await app_of(plane), await app_of(plane, "delete:*")
        assert await deleted(reader, "a.jpg") == (403, "scope-missing")
        assert await deleted(await reader.ticket(), "a.jpg") == (401, "unauthorized")
        assert await deleted(app, "a.jpg", "papers") == (404, "unknown-pipeline")
        for key in ("a.txt", "a\0.jpg", "x" * 1025 + ".jpg", ".yurt-probe/a.jpg"):
            assert await deleted(app, key) == (403, "outside-pipeline"), key
        assert pair.s3.list_objects_v2(Bucket=pair.inputs)["KeyCount"] == 2


async def test_an_object_that_is_replaced_meanwhile_stays_and_a_store_that_fails_is_said(
    postgres_dsn: str, store: RunningBucket
) -> None:
    pair = BucketPair.made(store)
    async with (
        control_plane(postgres_dsn, pair.configured(), loops=False, store=store.endpoint) as plane,
        httpx.AsyncClient(base_url=store.endpoint) as http,
    ):
        app = await app_of(plane, "delete:photos")
        for status, answer in ((412, (409, "object-changed")), (403, (503, "store-unavailable"))):
            pair.s3.put_object(Bucket=pair.inputs, Key="a.jpg", Body=b"photo")
            fault = {"method": "DELETE", "bucket": pair.inputs, "status": status}
            assert (await http.post("/_yurt/faults", json=fault)).is_success
            assert await deleted(app, "a.jpg") == answer
        assert await deleted(app, "a.jpg") == (200, "")
