"""Uploads to a real store as browsers and apps make them: places, signing, tickets, files in parts."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.infra.local.running import RunningBucket as LocalStore
from tests.webhook.apps import App, app_of
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import control_plane

PNG: dict[str, Any] = {"name": "a.png", "content_type": "image/png", "pipeline": "photos"}
MIB = 1 << 20


async def put_whole(plan: dict[str, Any], body: bytes, **headers: str) -> int:
    """PUT the whole file; the store's status."""
    async with httpx.AsyncClient() as http:
        target = plan["put"]
        return (await http.put(target["url"], content=body, headers={**target["headers"], **headers})).status_code


async def post(plan: dict[str, Any], body: bytes, **fields: str) -> int:
    """Post the form; the store's status."""
    async with httpx.AsyncClient() as http:
        form = plan["form"]
        files = {"file": ("a.png", body, "image/png")}
        return (await http.post(form["url"], data={**form["fields"], **fields}, files=files)).status_code


def stored(buckets: BucketPair, key: str) -> tuple[bytes, str, str]:
    """Content, type and disposition of an object."""
    found = buckets.s3.get_object(Bucket=buckets.inputs, Key=key)
    return found["Body"].read(), found["ContentType"], found.get("ContentDisposition", "")


def plane_of(dsn: str, buckets: BucketPair, **more: Any) -> Any:
    return control_plane(dsn, buckets.configured(**more), store=buckets.store.endpoint, loops=False)


async def test_a_put_is_bound_to_type_and_length_and_replaces_nothing(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane:
        app = await app_of(plane)
        plan = await app.upload(**PNG, size=5)
        assert plan["key"].endswith("/a.png")
        assert await put_whole(plan, b"longer") == 403
        assert await put_whole(plan, b"hello", **{"content-type": "text/html"}) == 403
        assert await put_whole(plan, b"hello") == 200
        assert stored(buckets, plan["key"]) == (b"hello", "image/png", "")
        assert await put_whole(plan, b"other") == 412, "the same URL does not replace what it uploaded"
        assert plan["multipart"] is None


async def test_markup_is_kept_as_a_download(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane:
        app = await app_of(plane)
        for content_type in ("text/html", "image/svg+xml", "application/octet-stream"):
            plan = await app.upload(**{**PNG, "content_type": content_type}, size=5)
            assert await put_whole(plan, b"<svg>", **{"content-disposition": "inline"}) == 403
            assert await put_whole(plan, b"<svg>") == 200
            assert stored(buckets, plan["key"])[1:] == (content_type, "attachment")


async def test_a_form_uploads_the_same(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane:
        plan = await (await app_of(plane)).upload(**PNG, size=5)
        assert await post(plan, b"hello") == 204
        assert stored(buckets, plan["key"])[:2] == (b"hello", "image/png")


async def test_an_app_names_a_key_and_says_whether_it_is_replaced(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane:
        app = await app_of(plane)
        first = await app.upload(**PNG, size=1, key="cover.png")
        assert (first["key"], first["form"]) == ("cover.png", None), "a form could replace it"
        assert await put_whole(first, b"1") == 200
        assert await put_whole(await app.upload(**PNG, size=1, key="cover.png"), b"2") == 412
        assert await put_whole(await app.upload(**PNG, size=1, key="cover.png", replace=True), b"3") == 200
        assert stored(buckets, "cover.png")[0] == b"3"
        assert await app.refused(**PNG, size=1, key="../x.png") == (422, "key-refused")
        assert await app.refused(**PNG, size=1, replace=True) == (422, "malformed")


# ── tickets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_ticket_uploads_into_its_own_folder(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane:
        app = await app_of(plane)
        one, other = await app.ticket(uploads=2, prefix="users/42"), await app.ticket(uploads=2, prefix="users/42")
        keys = {(await browser.upload(name="a.png", size=1))["key"] for browser in (one, one, other, other)}
        assert len(keys) == 4
        assert {key[:9] for key in keys} == {"users/42/"}
        assert len({key.split("/")[2] for key in keys}) == 2


async def test_what_a_ticket_does_not_allow(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane:
        app = await app_of(plane)
        browser = await app.ticket(content_types=["image/*"], max_bytes=10)
        fine = {"name": "a.png", "content_type": "image/png", "size": 10}
        for wrong, refusal in (
            ({"size": 11}, (413, "too-large")),
            ({"content_type": "text/html"}, (403, "type-not-allowed")),
            ({"content_type": "IMAGE/PNG; a=b"}, (422, "malformed")),
            ({"pipeline": "papers"}, (403, "outside-ticket")),
            ({"key": "a.png"}, (403, "outside-ticket")),
            ({"prefix": "users/1"}, (403, "outside-ticket")),
            ({"size": -1}, (422, "malformed")),
            ({"size": 6 << 40}, (422, "malformed")),
        ):
            assert await browser.refused(**{**fine, **wrong}) == refusal, wrong
        await browser.upload(**fine)
        assert await browser.refused(**fine) == (403, "ticket-used")
        forged = App(plane.http, browser.secret[:-1] + ("0" if browser.secret[-1] != "0" else "1"))
        assert await forged.refused(**fine) == (401, "unauthorized")
        assert await browser.refused("/v1/tickets", pipeline="photos") == (401, "unauthorized")


async def test_a_ticket_ends(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane:
        app = await app_of(plane)
        browser = await app.ticket(uploads=9)
        plan = await browser.upload(size=20 * MIB, multipart=True)
        await plane.sql("update upload_tickets set expires_at = now() - interval '1 second'")
        assert await browser.refused(size=1) == (401, "unauthorized")
        path = f"/v1/uploads/{plan['multipart']['id']}"
        assert (await browser.call("GET", path)).status_code == 200, "what it has begun may be finished"
        await plane.sql("update upload_tickets set expires_at = now() - interval '8 days'")
        assert (await browser.call("GET", path)).status_code == 401
        other = await app.ticket()
        [row] = await plane.sql("select id from app_tokens")
        await plane.admin("DELETE", f"/v1/tokens/{row['id']}")
        response = await other.call("POST", "/v1/uploads", json={"size": 1})
        assert (response.status_code, "token" in response.json()["message"]) == (401, True)


@pytest.mark.parametrize("wrong", [{"prefix": "../x"}, {"prefix": "a//b"}, {"prefix": ".yurt-1"}])
async def test_a_ticket_for_a_place_that_cannot_be(postgres_dsn: str, store: LocalStore, wrong: dict[str, str]) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane:
        app = await app_of(plane)
        assert await app.refused("/v1/tickets", pipeline="photos", **wrong) == (422, "key-refused")
        assert await app.refused("/v1/tickets", pipeline="papers") == (403, "scope-missing")
        assert await (await app_of(plane, "upload:*")).refused("/v1/tickets", pipeline="papers") == (
            404, "unknown-pipeline",
        )  # fmt: skip
        reader = await app_of(plane, "read:photos")
        assert await reader.refused("/v1/tickets", pipeline="photos") == (403, "scope-missing")
        assert await reader.refused(**PNG, size=1) == (403, "scope-missing")


async def test_an_upload_that_could_not_begin_is_given_back(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets, suffixes=[".png"]) as plane:
        browser = await (await app_of(plane)).ticket()
        assert await browser.refused(name="a.txt", size=1) == (422, "key-refused")
        assert (await browser.upload(name="a.png", size=1))["key"].endswith("/2/a.png")


# ── files in parts ───────────────────────────────────────────────────────────────────────────────────────────────────


async def put_part(app: App, plan: dict[str, Any], number: int, body: bytes) -> int:
    signed = await app.call("POST", f"/v1/uploads/{plan['multipart']['id']}/parts", json={"numbers": [number]})
    [part] = signed.json()["parts"]
    async with httpx.AsyncClient(timeout=30) as http:
        return (await http.put(part["url"], content=body)).status_code


async def test_a_file_in_parts_is_resumed_and_completed_once(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    size = 33 * MIB
    async with plane_of(postgres_dsn, buckets) as plane:
        browser = await (await app_of(plane)).ticket()
        plan = await browser.upload(**PNG, size=size, multipart=True)
        parts = plan["multipart"]
        assert (parts["parts"], parts["part_bytes"], plan["put"]) == (3, 16 * MIB, None)
        path = f"/v1/uploads/{parts['id']}"
        assert await put_part(browser, plan, 1, b"a" * (16 * MIB + 1)) == 403
        assert await put_part(browser, plan, 1, b"a" * 16 * MIB) == 200
        assert await put_part(browser, plan, 3, b"c" * MIB) == 200
        response = await browser.call("POST", f"{path}/complete")
        assert (response.status_code, response.json()["error"]) == (409, "parts-missing")
        assert "1 of 3 parts are missing: 2" in response.json()["message"]
        arrived = (await browser.call("GET", path)).json()["arrived"]
        assert arrived == [{"number": 1, "size": 16 * MIB}, {"number": 3, "size": MIB}]
        assert await put_part(browser, plan, 2, b"b" * 16 * MIB) == 200
        first, second = [await browser.call("POST", f"{path}/complete") for _ in range(2)]
        assert first.status_code == second.status_code == 200
        assert first.json() == second.json(), "an answer that was lost is given again"
        body, content_type, _ = stored(buckets, plan["key"])
        assert (len(body), content_type) == (size, "image/png")


async def test_who_may_carry_an_upload_on(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane:
        app = await app_of(plane)
        browser, other = await app.ticket(), await app.ticket()
        plan = await browser.upload(**PNG, size=20 * MIB, multipart=True)
        path = f"/v1/uploads/{plan['multipart']['id']}"
        reader = await app_of(plane, "read:photos", "upload:papers")
        for stranger in (other, reader):
            for method, call in (("GET", ""), ("POST", "/complete"), ("DELETE", "")):
                assert (await stranger.call(method, path + call)).status_code == 404
            assert (await stranger.call("POST", f"{path}/parts", json={"numbers": [1]})).status_code == 404
        assert (await browser.call("POST", f"{path}/parts", json={"numbers": [3]})).status_code == 422
        assert (await app.call("DELETE", path)).json() == {"pipeline": "photos", "key": plan["key"]}
        assert (await app.call("DELETE", path)).status_code == 404
        assert "Uploads" not in buckets.s3.list_multipart_uploads(Bucket=buckets.inputs)


async def test_large_files_have_parts_that_s3_allows(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane:
        app = await app_of(plane)
        for size in (100 * MIB, 5 << 30, 5 << 40):
            parts = (await app.upload(**PNG, size=size))["multipart"]
            assert parts["parts"] <= 10_000
            assert 5 * MIB <= parts["part_bytes"] <= 5 << 30
            assert parts["parts"] == -(-size // parts["part_bytes"])
        assert await app.refused(**PNG, size=6 << 30, multipart=False) == (422, "malformed")


# ── pages of other origins ───────────────────────────────────────────────────────────────────────────────────────────


async def test_pages_of_any_origin_may_call_with_a_ticket(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with plane_of(postgres_dsn, buckets) as plane:
        asked = {"origin": "https://app.example.com", "access-control-request-method": "POST"}
        preflight = await plane.http.options("/v1/uploads", headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "*"
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in preflight.headers
        refused = await plane.http.post("/v1/uploads", json={"size": 1}, headers=asked)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")
        assert (await plane.http.options("/v1/status", headers=asked)).status_code == 405
