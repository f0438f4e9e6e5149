"""Dropped files: where they are uploaded, what of them is refused, and what the page says of their fate."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.infra.local.running import RunningBucket
from tests.webhook.buckets import BucketPair
from tests.webhook.page.visits import Visitor, visiting
from tests.webhook.plane import control_plane, done, event


def drop(name: str, **more: Any) -> dict[str, Any]:
    return {"pipeline": "photos", "name": name, "size": 5, **more}


async def test_a_file_is_uploaded_to_a_new_key_and_followed_to_its_result(
    postgres_dsn: str, store: RunningBucket
) -> None:
    pair = BucketPair.made(store)
    async with (
        control_plane(postgres_dsn, pair.configured(), loops=False, store=store.endpoint) as plane,
        visiting(plane) as visitor,
    ):
        first, second = [(await visitor.script("/drops", drop("cat.jpg"))).json() for _ in range(2)]
        assert first["key"] != second["key"]
        async with httpx.AsyncClient() as http:
            assert (await http.put(first["url"], content=b"photo", headers=first["headers"])).status_code == 200
        assert pair.s3.get_object(Bucket=pair.inputs, Key=first["key"])["ContentType"] == "image/jpeg"

        async def fate() -> dict[str, str]:
            response = await visitor.script("/drops/fates", {"pipeline": "photos", "keys": [first["key"]]})
            [found] = response.json()["files"]
            return dict(found)

        assert await fate() == {"state": "unknown", "html": ""}
        await plane.notify(event(first["key"], bucket=pair.inputs))
        assert (await fate())["state"] == "pending"
        worker = await plane.worker()
        lease = await worker.lease()
        await worker.ask(most=0, settle=[done(lease, {"256.webp": "e", "result.json": "r"})])
        found = await fate()
        assert found["state"] == "done"
        assert "name=256.webp" in found["html"]


@contextlib.asynccontextmanager
async def dropping(postgres_dsn: str, store: RunningBucket, **more: Any) -> AsyncIterator[Visitor]:
    """An administrator's browser, over a real store."""
    config = BucketPair.made(store).configured(**more)
    async with (
        control_plane(postgres_dsn, config, loops=False, store=store.endpoint) as plane,
        visiting(plane) as visitor,
    ):
        yield visitor


async def test_only_the_last_part_of_a_name_is_kept(postgres_dsn: str, store: RunningBucket) -> None:
    async with dropping(postgres_dsn, store) as visitor:
        for name, last in (
            ("C:\\photos\\cat.jpg", "cat.jpg"), ("../../etc/passwd.jpg", "passwd.jpg"), ("é 日本.jpg", "é 日本.jpg"),
            ("/", "file"),
        ):  # fmt: skip
            key = (await visitor.script("/drops", drop(name))).json()["key"]
            assert key.split("/")[-1] == last
            assert key.startswith("dropped/")


async def test_what_a_browser_could_run_is_stored_as_a_download(postgres_dsn: str, store: RunningBucket) -> None:
    async with dropping(postgres_dsn, store) as visitor:
        for name in ("page.html", "drawing.svg", "script.js"):
            headers = (await visitor.script("/drops", drop(name))).json()["headers"]
            assert headers["content-disposition"] == "attachment", name
        assert (await visitor.script("/drops", drop("a.png"))).json()["headers"] == {"content-type": "image/png"}


async def test_a_file_of_another_length_than_was_said_is_refused(postgres_dsn: str, store: RunningBucket) -> None:
    async with dropping(postgres_dsn, store) as visitor, httpx.AsyncClient() as http:
        where = (await visitor.script("/drops", drop("a.jpg"))).json()
        assert (await http.put(where["url"], content=b"longer", headers=where["headers"])).status_code == 403


async def test_what_the_pipeline_does_not_watch_is_refused_with_what_it_does(
    postgres_dsn: str, store: RunningBucket
) -> None:
    async with dropping(postgres_dsn, store, suffixes=[".jpg", ".png"]) as visitor:
        response = await visitor.script("/drops", drop("song.mp3"))
        assert (response.status_code, response.json()["error"]) == (422, "key-refused")
        assert ".jpg, .png" in response.json()["message"]
        assert (await visitor.script("/drops", drop("CAT.JPG"))).status_code == 201


async def test_a_store_that_is_away_is_said(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        response = await visitor.script("/drops", drop("a.jpg"))
        assert (response.status_code, response.json()["error"]) == (503, "store-unavailable")


@pytest.mark.parametrize(
    "content",
    [
        drop("a.jpg", size=-1), drop("a.jpg", size=10**13), drop(""), drop("a.jpg", more=1), {}, [], "x",
        drop("a.jpg", pipeline="other"),
    ],
)  # fmt: skip
async def test_a_request_that_is_wrong_signs_nothing(postgres_dsn: str, content: object) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        response = await visitor.script("/drops", content)
        assert response.status_code in (404, 422)
        assert "url" not in response.json()


async def test_fates_of_too_many_files_or_of_keys_that_none_has(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        for keys in (["a"] * 101, ["a\0b"], [""], ["x" * 2_000]):
            response = await visitor.script("/drops/fates", {"pipeline": "photos", "keys": keys})
            assert response.status_code == 422, keys[0][:5]
