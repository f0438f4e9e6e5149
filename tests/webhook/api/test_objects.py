"""Objects as apps see them: state, results with URLs, errors, waiting for a change, pages.

What the ledger says of them comes from `known_objects`.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.infra.local.running import RunningBucket as LocalStore
from tests.polling import until
from tests.webhook.apps import App, app_of, settle
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import configured, control_plane, event, pipeline
from tests.webhook.publishing import publish
from tests.webhook.settlements import failed
from workers.protocol import Lease

AWKWARD = "users/ü 🏕/a+b&c?d#e%2F f;=@:'\".jpg"


async def shown(app: App, key: str, **query: Any) -> dict[str, Any]:
    """One object, which has to be there."""
    response = await app.call("GET", f"/v1/objects/photos/{quote(key)}", params=query)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def refused(app: App, path: str, **query: Any) -> tuple[int, str]:
    response = await app.call("GET", f"/v1/objects/{path}", params=query)
    return response.status_code, response.json()["error"]


async def test_an_object_from_event_to_result(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        app, worker = await app_of(plane), await plane.worker()
        assert await refused(app, "photos/a.jpg") == (404, "unknown-object")
        await plane.notify(event("a.jpg", size=7))
        waiting = await shown(app, "a.jpg")
        assert (waiting["state"], waiting["progress"]["phase"], waiting["size"]) == ("pending", "queued", 7)
        lease = await worker.lease()
        working = await shown(app, "a.jpg")
        assert (working["state"], working["progress"]) == (
            "leased", {"phase": "working", "attempt": 1, "retry_in_seconds": None},
        )  # fmt: skip
        await worker.ask(most=0, settle=[finished(lease, thumb="abc")])
        done = await shown(app, "a.jpg")
        assert (done["state"], done["progress"], done["error"]) == ("done", None, None)
        assert done["result"]["etag"] == "e"
        [thumb] = done["result"]["files"]
        assert (thumb["name"], thumb["etag"]) == ("thumb", "abc")
        assert "/outbox/a.jpg/thumb?" in thumb["url"] or "outbox" in thumb["url"]
        assert len({each["version"] for each in (waiting, working, done)}) == 3
        assert (await shown(app, "a.jpg"))["version"] == done["version"]


def finished(lease: Lease, **outputs: str) -> dict[str, Any]:
    made = [{"name": name, "etag": etag, "size": 5, "content_type": "text/plain"} for name, etag in outputs.items()]
    return {"outcome": "done", "id": lease.id, "token": lease.token, "fetched": {"etag": "e"}, "outputs": made}


async def test_why_an_object_is_parked_or_tried_again(postgres_dsn: str) -> None:
    slow = configured({"photos": pipeline(conditions="quoted", backoff_seconds=60)})
    async with control_plane(postgres_dsn, slow) as plane:
        app, worker = await app_of(plane), await plane.worker()
        await plane.notify(event("a.jpg"))
        await worker.ask(most=0, settle=[failed(await worker.lease(), retry=True, reason="timeout")])
        again = await shown(app, "a.jpg")
        assert (again["state"], again["progress"]["phase"], again["error"]) == ("pending", "retrying", None)
        assert again["progress"]["attempt"] == 2
        assert 0 < again["progress"]["retry_in_seconds"] <= 60
        await plane.sql("update objects set due_at = now()")
        message = {"reason": "unreadable", "message": "This is no photo.", "log": "a secret traceback"}
        await worker.ask(most=0, settle=[failed(await worker.lease(), retry=False, **message)])
        parked = await shown(app, "a.jpg")
        assert parked["error"] == {"reason": "unreadable", "message": "This is no photo."}
        assert "secret" not in str(parked), "logs are for operators"


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_call_waits_until_the_object_is_settled(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        app = await app_of(plane)
        waiting = asyncio.create_task(shown(app, "a.jpg", wait=60))
        await settle(plane, "b.jpg", "a.jpg")
        assert (await waiting)["state"] == "done"
        assert (await shown(app, "a.jpg", wait=60))["state"] == "done", "at once"


async def test_a_call_waits_for_another_version(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        app, worker = await app_of(plane), await plane.worker()
        await plane.notify(event("a.jpg"))
        first = await shown(app, "a.jpg")
        waiting = asyncio.create_task(shown(app, "a.jpg", wait=60, after=first["version"]))
        lease = await worker.lease()
        second = await waiting
        assert second["state"] == "leased"
        waiting = asyncio.create_task(shown(app, "a.jpg", wait=60, after=second["version"]))
        await worker.ask(most=0, settle=[finished(lease)])
        assert (await waiting)["state"] == "done"
        same = await shown(app, "a.jpg", wait=0.01, after=(await waiting)["version"])
        assert same == await waiting


async def test_calls_that_wait_are_answered_when_the_replica_leaves(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        app = await app_of(plane)
        await plane.notify(event("a.jpg"))
        waiting = [asyncio.create_task(shown(app, "a.jpg", wait=60)) for _ in range(3)]

        async def all_wait() -> bool:
            return plane.plane.objects.waiting == 3

        await until(all_wait)
        plane.plane.objects.close()
        assert {each["state"] for each in await asyncio.gather(*waiting)} == {"pending"}


# ── results ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_results_have_labels_and_urls_that_work(postgres_dsn: str, store: LocalStore) -> None:
    buckets = BucketPair.made(store)
    async with control_plane(
        postgres_dsn, buckets.configured(conditions="quoted"), store=store.endpoint, loops=False
    ) as plane:
        app, worker = await app_of(plane), await plane.worker()
        for key in (AWKWARD, "plain.jpg"):
            await publish(plane, buckets, worker, key)
            for _ in range(2):  # the second one's manifest is cached
                result = (await shown(app, key))["result"]
                assert (result["verdict"], result["labels"]) == ("refused", {"verdict": "refused", "width": 3})
                files = {file["name"]: file for file in result["files"]}
                assert (files["thumb.webp"]["size"], files["thumb.webp"]["content_type"]) == (7, "image/webp")
                async with httpx.AsyncClient() as http:
                    assert (await http.get(files["thumb.webp"]["url"])).content == b"picture"
        listed = (await app.call("GET", "/v1/objects/photos")).json()["objects"]
        assert [each["key"] for each in listed] == ["plain.jpg", AWKWARD]
        assert listed[0]["result"]["labels"] is None


async def test_public_urls(postgres_dsn: str) -> None:
    public = configured({"photos": pipeline(conditions="quoted", public_url="https://cdn.example.com/p/")})
    async with control_plane(postgres_dsn, public) as plane:
        app, worker = await app_of(plane), await plane.worker()
        await plane.notify(event(AWKWARD))
        await worker.ask(most=0, settle=[finished(await worker.lease(), thumb="abc")])
        [file] = (await shown(app, AWKWARD))["result"]["files"]
        assert file["url"] == f"https://cdn.example.com/p/{quote(AWKWARD, safe='/~')}/thumb"


# ── who may read, and pages ──────────────────────────────────────────────────────────────────────────────────────────


async def test_pages_by_prefix(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        app = await app_of(plane)
        keys = sorted([*(f"a/{n}.jpg" for n in range(5)), "a0.jpg", "b/é.jpg", "a/\U0010fffd.jpg"])
        await plane.notify(*map(event, keys))

        async def pages(**query: Any) -> list[list[str]]:
            found: list[list[str]] = []
            cursor: str | None = ""
            while cursor is not None:
                page = (await app.call("GET", "/v1/objects/photos", params={**query, "cursor": cursor})).json()
                found.append([each["key"] for each in page["objects"]])
                cursor = page["next"]
            return found

        assert await pages() == [sorted(keys, key=str.encode)]
        assert await pages(prefix="a/", limit=4) == [
            [f"a/{n}.jpg" for n in range(4)], ["a/4.jpg", "a/\U0010fffd.jpg"],
        ]  # fmt: skip
        assert await pages(prefix="nothing") == [[]]
        assert await refused(app, "photos", limit=0) == (422, "malformed")
        assert await refused(app, "photos", prefix="\x00") == (422, "malformed")


@pytest.mark.parametrize("path", ["photos/a.jpg", "photos"])
async def test_readers_without_the_right_read_nothing(postgres_dsn: str, path: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.notify(event("a.jpg"))
        assert await refused(await app_of(plane, "upload:photos", "read:papers"), path) == (403, "scope-missing")
        assert await refused(App(plane.http, "x"), path) == (401, "unauthorized")
        reader = await app_of(plane, "read:*")
        assert await refused(reader, path.replace("photos", "papers")) == (404, "unknown-pipeline")


async def test_a_ticket_reads_its_own_uploads_alone(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        app = await app_of(plane)
        one, other = await app.ticket(), await app.ticket()
        [first, second] = [row["folder"] for row in await plane.sql("select folder from upload_tickets order by id")]
        await plane.notify(event(f"{first}1/a.jpg"), event(f"{second}1/b.jpg"), event("c.jpg"))
        assert (await shown(one, f"{first}1/a.jpg"))["state"] == "pending"
        assert (await shown(App(plane.http, "x"), f"{first}1/a.jpg", ticket=one.secret))["state"] == "pending"
        for key in (f"{second}1/b.jpg", "c.jpg", first.rstrip("/")):
            assert await refused(one, f"photos/{key}") == (403, "outside-ticket")
        listed = (await other.call("GET", "/v1/objects/photos")).json()["objects"]
        assert [each["key"] for each in listed] == [f"{second}1/b.jpg"]
        assert await refused(one, "photos", prefix=second) == (403, "outside-ticket")
        assert await refused(one, "papers") == (403, "outside-ticket")
