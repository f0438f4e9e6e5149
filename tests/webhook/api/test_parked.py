"""What people are told of parked objects, and what they may do with them, over HTTP."""

from __future__ import annotations

import itertools
from typing import Any

import httpx

from tests.webhook.plane import ADMIN, RunningPlane, configured, control_plane, event, pipeline
from tests.webhook.settlements import done, failed

TRACEBACK = 'Traceback (most recent call last):\n  File "handler.py", line 3, in handle\nValueError: \x1b[31mno\x1b[0m'


async def park(plane: RunningPlane, *keys: str, **more: object) -> dict[str, int]:
    """Park objects of these keys. Returns their numbers."""
    worker = await plane.worker()
    await plane.notify(*(event(key) for key in keys))
    fields = {"reason": "unreadable", "message": "This is no photo.", "log": TRACEBACK, **more}
    leases = (await worker.ask(most=len(keys))).leases
    await worker.ask(most=0, settle=[failed(lease, retry=False, **fields) for lease in leases])
    return {lease.key: lease.id for lease in leases}


async def post(plane: RunningPlane, verb: str, **body: Any) -> httpx.Response:
    return await plane.admin("POST", f"/v1/parked/{verb}", json=body)


async def test_a_list_shows_the_newest_and_counts_all(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        for number in range(3):
            await park(plane, f"{number}.jpg")
        await park(plane, "x.jpg", reason="crashed")
        first = (await plane.admin("GET", "/v1/parked?limit=3")).json()
        assert [row["key"] for row in first["objects"]] == ["x.jpg", "2.jpg", "1.jpg"]
        assert first["counts"] == [
            {"pipeline": "photos", "reason": "unreadable", "objects": 3},
            {"pipeline": "photos", "reason": "crashed", "objects": 1},
        ]
        second = (await plane.admin("GET", f"/v1/parked?limit=3&after={first['next']}")).json()
        assert [row["key"] for row in second["objects"]] == ["0.jpg"]
        assert (second["counts"], second["next"]) == ([], None)
        assert TRACEBACK not in str(first), "a list has no logs"


async def test_a_list_by_filters(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        await park(plane, "a.jpg", "b&c=d.jpg")
        await park(plane, "e.jpg", reason="crashed")
        await plane.sql("update objects set due_at = now() - interval '2 hours' where key = 'a.jpg'")

        async def keys(**query: str) -> set[str]:
            response = await plane.http.get("/v1/parked", params=query, headers={"authorization": f"Bearer {ADMIN}"})
            assert response.status_code == 200, response.text
            return {row["key"] for row in response.json()["objects"]}

        assert await keys(older_seconds="3600") == {"a.jpg"}
        assert await keys(newer_seconds="3600") == {"b&c=d.jpg", "e.jpg"}
        assert await keys(reason="crashed", pipeline="photos") == {"e.jpg"}
        assert await keys(pipeline="papers") == set()
        assert await keys(prefix="b&c=") == {"b&c=d.jpg"}
        assert await keys(key="e.jpg") == {"e.jpg"}


async def test_everything_about_one_object(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        await worker.ask(most=0, settle=[done(await worker.lease())])
        number = (await park(plane, "a.jpg"))["a.jpg"]
        body = (await plane.admin("GET", f"/v1/parked/{number}")).json()
        assert body["parked_at"] > body["heard"]["at"] > body["result"]["at"]
        assert len(body["heard"]["etag"]) == 32
        assert body["heard"]["size"] == 1024
        assert body["result"]["etag"]
        shown = {name: body[name] for name in body if name not in ("parked_at", "heard", "result")}
        assert shown == {
            "id": number, "pipeline": "photos", "bucket": "inbox", "key": "a.jpg", "attempts": 1, "lane": "work",
            "faults": 0, "reason": "unreadable", "message": "This is no photo.", "log": TRACEBACK,
        }  # fmt: skip


async def test_what_is_not_parked_is_not_shown(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        numbers = await park(plane, "a.jpg")
        await post(plane, "redrive", ids=list(numbers.values()))
        for number in (numbers["a.jpg"], 0, -1, 2**62, 2**63, 2**200, "x", "redrive"):
            response = await plane.admin("GET", f"/v1/parked/{number}")
            assert (response.status_code, response.json()["error"]) == (404, "not-parked")


async def test_a_redriven_object_is_leased_at_once_and_can_be_done(postgres_dsn: str) -> None:
    config = configured({"photos": pipeline(), "papers": pipeline("papers", "results")})
    async with control_plane(postgres_dsn, config) as plane:
        await park(plane, "a.jpg", "b.jpg")
        worker = await plane.worker()
        assert (await post(plane, "redrive", reason="unreadable", dry_run=True)).json() == {"objects": 2, "next": None}
        assert not (await worker.ask(most=2)).leases
        assert (await post(plane, "redrive", reason="unreadable")).json() == {"objects": 2, "next": None}
        leases = (await worker.ask(most=2, wait=5)).leases
        assert [lease.attempt for lease in leases] == [1, 1]
        await worker.ask(most=0, settle=[done(lease) for lease in leases])
        assert {row["state"] for row in (await plane.objects()).values()} == {"done"}
        assert await plane.unaccounted() == {"events": 0, "changes": 0}


async def test_a_forgotten_object_ends_as_forgotten_and_the_books_balance(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        await park(plane, "a.jpg", "b.jpg", "c.jpg")
        assert (await post(plane, "forget", key="a.jpg", dry_run=True)).json()["objects"] == 1
        assert (await plane.objects())["a.jpg"]["state"] == "parked"
        assert (await post(plane, "forget", key="a.jpg")).json()["objects"] == 1
        status = (await plane.admin("GET", "/v1/status")).json()
        assert status["pipelines"]["photos"]["objects"] == {"parked": 2, "forgotten": 1}
        assert status["pipelines"]["photos"]["changes"]["forgotten"] == 1
        assert status["unaccounted"] == {"events": 0, "changes": 0}
        metrics = (await plane.http.get("/metrics")).text
        assert 'yurt_changes_total{outcome="forgotten",pipeline="photos"} 1.0' in metrics


async def test_all_of_them_page_by_page(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        await park(plane, *(f"{number}.jpg" for number in range(5)))
        moved, after = [], None
        for _ in range(5):
            body = (await post(plane, "redrive", all=True, limit=2, after=after)).json()
            moved.append(body["objects"])
            if (after := body["next"]) is None:
                break
        assert moved == [2, 2, 1]


_NONSENSE: list[tuple[Any, str]] = [
    ({}, "name ids or a filter, or say all"),
    ({"dry_run": True}, "name ids or a filter, or say all"),
    ({"limit": 5, "after": "1-1"}, "name ids or a filter, or say all"),
    ({"all": False}, "name ids or a filter, or say all"),
    ({"all": True, "reason": "x"}, "all does not go with"),
    ({"all": True, "ids": [1]}, "all does not go with"),
    ({"ids": []}, "ids"),
    ({"ids": [0]}, "ids.0"),
    ({"ids": [2**63]}, "ids.0"),
    ({"ids": [1] * 1001}, "ids"),
    ({"resaon": "x"}, "resaon"),
    ({"key": "a\0"}, "key"),
    ({"prefix": ""}, "prefix"),
    ({"older_seconds": -1}, "older_seconds"),
    ({"older_seconds": 1e300}, "older_seconds"),
    ({"reason": "x", "after": "here"}, "after"),
    ({"reason": "x", "after": f"1-{2**63}"}, "after"),
    ({"reason": "x", "limit": 1001}, "limit"),
    ([], ""),
]


async def test_a_choice_that_says_nothing_or_nonsense_is_refused(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await park(plane, "a.jpg")
        for verb, (body, why) in itertools.product(("redrive", "forget"), _NONSENSE):
            response = await plane.admin("POST", f"/v1/parked/{verb}", json=body)
            assert (response.status_code, response.json()["error"]) == (422, "malformed"), body
            assert why in response.json()["message"]
        assert (await plane.objects())["a.jpg"]["state"] == "parked"


async def test_a_query_that_is_nonsense_is_refused(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        for query in ("resaon=x", "limit=0", "limit=x", "after=x", "key=a%00", "limit=1&limit=2"):
            response = await plane.admin("GET", f"/v1/parked?{query}")
            assert (response.status_code, response.json()["error"]) == (422, "malformed"), query


async def test_parked_objects_are_behind_the_admin_token(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        numbers = await park(plane, "a.jpg")
        calls = [
            ("GET", "/v1/parked"),
            ("GET", f"/v1/parked/{numbers['a.jpg']}"),
            ("POST", "/v1/parked/redrive"),
            ("POST", "/v1/parked/forget"),
        ]
        for method, path in calls:
            for headers in ({}, {"authorization": "Bearer wrong"}):
                response = await plane.http.request(method, path, json={"all": True}, headers=headers)
                assert response.status_code == 401
                assert "photo" not in response.text
        assert (await plane.objects())["a.jpg"]["state"] == "parked"
