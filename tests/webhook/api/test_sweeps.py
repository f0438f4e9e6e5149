"""Sweeps over HTTP."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.infra.local.running import RunningBucket as LocalStore
from tests.polling import until
from tests.webhook.plane import configured, control_plane, pipeline
from tests.webhook.sweep.sweeping import swept

BOTH = {
    "photos": pipeline(input="s3://inbox/up/", output="s3://outbox/photos/"),
    "films": pipeline(input="s3://inbox/up/films/", output="s3://outbox/films/"),
}


async def test_one_sweep_for_each_pipeline_and_prefix(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(BOTH), loops=False) as plane:
        all_ = await plane.admin("POST", "/v1/sweeps", json={})
        assert all_.status_code == 201, all_.text
        assert sorted((sweep["pipeline"], sweep["prefix"], sweep["state"]) for sweep in all_.json()["sweeps"]) == [
            ("films", "up/films/", "wanted"), ("photos", "up/", "wanted"),
        ]  # fmt: skip
        order = {
            "pipelines": ["photos", "photos"], "prefixes": ["up/b", "up/a", "up/a/", "up/b"], "kind": "full",
            "since": "2026-05-15T10:30:00+02:00", "pages_per_second": 0.5, "dry_run": True,
        }  # fmt: skip
        some = (await plane.admin("POST", "/v1/sweeps", json=order)).json()["sweeps"]
        assert [sweep["prefix"] for sweep in some] == ["up/a", "up/b"], "one within another is not listed twice"
        one = (await plane.admin("GET", f"/v1/sweeps/{some[0]['id']}")).json()
        assert one == some[0]
        assert (one["kind"], one["since"], one["dry_run"]) == ("full", "2026-05-15T08:30:00+00:00", True)
        rates = {row["pages_per_second"] for row in await plane.sql("select pages_per_second from sweeps")}
        assert rates == {20, 0.5}, "configured and ordered"
        newest = (await plane.admin("GET", "/v1/sweeps?limit=3")).json()["sweeps"]
        assert [sweep["id"] for sweep in newest] == [4, 3, 2]
        assert [sweep["id"] for sweep in (await plane.admin("GET", "/v1/sweeps?before=2")).json()["sweeps"]] == [1]
        assert (await plane.admin("DELETE", "/v1/sweeps/1")).json()["state"] == "cancelled"
        assert (await plane.admin("DELETE", "/v1/sweeps/1")).json()["state"] == "cancelled"


@pytest.mark.parametrize(
    ("order", "status", "error"),
    [
        ({"pipelines": ["unknown"]}, 404, "unknown-pipeline"),
        ({"prefixes": ["elsewhere/"]}, 422, "outside"),
        ({"prefixes": ["up/photos"]}, 422, "outside"),  # not of films
        ({"prefixes": [f"up/films/{n}-" for n in range(501)]}, 422, "too-many"),
        ({"prefixes": ["up/\0"]}, 422, "malformed"),
        ({"kind": "all"}, 422, "malformed"),
        ({"since": "yesterday"}, 422, "malformed"),
        ({"since": "2026-05-15T10:30:00"}, 422, "malformed"),  # of which zone?
        ({"since": "0001-01-01T00:00:00+14:00"}, 422, "malformed"),
        ({"pages_per_second": -1}, 422, "malformed"),
        ({"typo": 1}, 422, "malformed"),
    ],
)
async def test_what_cannot_be_is_refused(postgres_dsn: str, order: dict[str, Any], status: int, error: str) -> None:
    async with control_plane(postgres_dsn, configured(BOTH), loops=False) as plane:
        response = await plane.admin("POST", "/v1/sweeps", json=order)
        assert (response.status_code, response.json()["error"]) == (status, error), response.text
        assert not await plane.sql("select from sweeps")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", ""), ("GET", "/1"), ("DELETE", "/1")])
async def test_only_for_whom_the_admin_token_is(postgres_dsn: str, method: str, path: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        assert (await plane.http.request(method, f"/v1/sweeps{path}", json={})).status_code == 401


@pytest.mark.parametrize("id", ["0", "7", "x", "9" * 30])
async def test_a_sweep_that_there_is_not(postgres_dsn: str, id: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        for method in ("GET", "DELETE"):
            response = await plane.admin(method, f"/v1/sweeps/{id}")
            assert (response.status_code, response.json()["error"]) == (404, "unknown-sweep")


async def test_the_control_plane_sweeps_by_itself(postgres_dsn: str, store: LocalStore) -> None:
    async with swept(postgres_dsn, store, loops=True) as world:
        world.upload("a.jpg")
        [ordered] = (await world.plane.admin("POST", "/v1/sweeps", json={})).json()["sweeps"]

        async def done() -> dict[str, Any] | None:
            body = (await world.plane.admin("GET", f"/v1/sweeps/{ordered['id']}")).json()
            return body if body["state"] == "done" else None

        body = await until(done)
        assert body
        assert (body["listed"], body["found"], body["finished_at"] is not None) == (1, 1, True)

        async def counted() -> bool:
            metrics = (await world.plane.http.get("/metrics")).text
            return (  # the sweep of recent objects may have found it too
                re.search(r'yurt_swept_objects_total{pipeline="photos",result="found"} [12]\.0', metrics) is not None
                and 'yurt_sweep_success_timestamp_seconds{kind="backfill",pipeline="photos"}' in metrics
            )

        await until(counted, pause_seconds=0.2)
