"""Originals and results: the browser is sent to the store, and nothing that was uploaded comes from the page."""

from __future__ import annotations

import httpx

from tests.infra.local.running import RunningBucket
from tests.webhook.buckets import BucketPair
from tests.webhook.page.visits import visiting
from tests.webhook.plane import control_plane
from webhook.page.files import smallest_image

HTML = b"<html><script>alert(1)</script></html>"


async def test_an_upload_that_is_a_web_page_is_saved_and_never_comes_from_here(
    postgres_dsn: str, store: RunningBucket
) -> None:
    pair = BucketPair.made(store)
    key = "cat & <b>/é ?#.jpg"
    pair.s3.put_object(Bucket=pair.inputs, Key=key, Body=HTML, ContentType="text/html")
    async with (
        control_plane(postgres_dsn, pair.configured(), loops=False, store=store.endpoint) as plane,
        visiting(plane) as visitor,
    ):
        response = await visitor.get("/original", pipeline="photos", key=key, save="1")
        assert response.status_code == 307
        assert b"script" not in response.content
        location = response.headers["location"]
        assert not location.startswith(plane.url)
        async with httpx.AsyncClient() as http:
            saved = await http.get(location)
        assert saved.content == HTML
        assert saved.headers["content-disposition"].startswith("attachment")


async def test_a_result_is_found_under_its_stable_key(postgres_dsn: str, store: RunningBucket) -> None:
    pair = BucketPair.made(store)
    pair.put("a/b c.jpg/256.webp", b"image")
    async with (
        control_plane(postgres_dsn, pair.configured(), loops=False, store=store.endpoint) as plane,
        visiting(plane) as visitor,
    ):
        response = await visitor.get("/result", pipeline="photos", key="a/b c.jpg", name="256.webp", etag="x")
        assert "private" in response.headers["cache-control"]
        async with httpx.AsyncClient() as http:
            assert (await http.get(response.headers["location"])).content == b"image"


async def test_what_no_pipeline_watches_is_not_signed(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        for query in (
            {"pipeline": "other", "key": "a.jpg"}, {"pipeline": "photos", "key": ""}, {"pipeline": "photos"},
            {"pipeline": "photos", "key": "folder/"}, {"pipeline": "photos", "key": ".yurt-probe-1"},
            {"pipeline": "photos", "key": "a\0b"},
        ):  # fmt: skip
            assert (await visitor.get("/original", **query)).status_code == 404, query
            assert (await visitor.get("/result", name="256.webp", **query)).status_code == 404, query
        for name in ("", "../x", "a/b"):
            assert (await visitor.get("/result", pipeline="photos", key="a.jpg", name=name)).status_code == 404


def test_the_smallest_image_suits_a_tile() -> None:
    assert smallest_image(["1600.webp", "256.webp", "512.webp", "metadata.json", "result.json"]) == "256.webp"
    assert smallest_image(["preview.PNG", "x.svg", "page.html"]) == "preview.PNG"
    assert smallest_image(["x.svg", "result.json"]) == ""
