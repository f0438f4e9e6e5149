"""Defining pipelines, pools and models at run time, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests import postgres
from tests.polling import until
from tests.webhook.plane import RunningPlane, configured, control_plane, done, event, pipeline, serving
from webhook.config import Config
from webhook.config_faults import ConfigError

QUOTED = {"conditions": "quoted"}
FIRST, SECOND = ({"argv": [program, "{input}", "{output}/copy"]} for program in ("cp", "ln"))


def tables(**pipelines: dict[str, Any]) -> dict[str, Any]:
    return {"pipelines": pipelines}


def captions(**more: Any) -> dict[str, Any]:
    """A pipeline that no file has."""
    return pipeline("captions-in", "captions-out", **QUOTED, handler="command", options=FIRST, **more)


async def deploy(plane: RunningPlane, app: str = "captions", **fields: Any) -> httpx.Response:
    body = {"app": app, "definitions": tables(caption=captions()), **fields}
    return await plane.admin("POST", "/v1/deployments", json=body)


async def deployed(plane: RunningPlane, app: str = "captions", **fields: Any) -> dict[str, Any]:
    response = await deploy(plane, app, **fields)
    assert response.status_code == 200, response.text
    return dict(response.json())


@contextlib.asynccontextmanager
async def replicas(postgres_dsn: str, number: int) -> AsyncIterator[list[RunningPlane]]:
    """Several control planes over one ledger."""
    async with postgres.database(postgres_dsn) as (_, dsn), contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(dsn, configured())) for _ in range(number)]


def names(plane: RunningPlane) -> set[str]:
    return {name for name, _ in plane.services.pipelines.by_id.values()}


async def test_what_is_deployed_is_worked_at_once_without_a_restart(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        poll = asyncio.create_task(worker.ask(wait=20))  # it waits for a pipeline that is not there yet
        await until(lambda: plane.services.wakeups.waiting == 1)
        answer = await deployed(plane)
        assert (answer["version"], answer["changed"], answer["dry_run"]) == (1, True, False)
        assert [(each["kind"], each["name"], each["change"]) for each in answer["changes"]] == [
            ("pipelines", "caption", "added")
        ]
        assert await plane.notify(event("a.jpg", bucket="captions-in")) == {"accepted": 1}
        [lease] = (await poll).leases
        assert (lease.pipeline, lease.key, lease.handler.kind) == ("caption", "a.jpg", "command")


async def test_a_second_version_takes_new_leases_and_leaves_running_ones_theirs(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await deployed(plane)
        await plane.notify(event("a.jpg", bucket="captions-in"), event("b.jpg", bucket="captions-in"))
        old = await worker.lease()
        second = captions(lease_seconds=400) | {"output": "s3://elsewhere/", "options": SECOND}
        answer = await deployed(plane, definitions=tables(caption=second))
        assert answer["version"] == 2
        fields = {each["field"]: (each["before"], each["after"]) for each in answer["changes"][0]["fields"]}
        assert fields["output"] == ("s3://captions-out/", "s3://elsewhere/")
        new = await worker.lease()
        assert {old.key, new.key} == {"a.jpg", "b.jpg"}
        assert (old.handler.options, new.handler.options) == (FIRST, SECOND)
        for lease, bucket, seconds in ((old, "captions-out", 180), (new, "elsewhere", 400)):
            [upload] = await worker.uploads(lease, "result.json")
            assert f"/{bucket}/" in str(upload.url)
            beat = await worker.post(f"leases/{lease.id}/heartbeat", {"token": lease.token})
            assert beat.json()["lease_seconds"] == pytest.approx(seconds, abs=5)
        settled = (
            await worker.ask(0, settle=[done(old, {"result.json": "m"}), done(new, {"result.json": "m"})])
        ).settled
        assert [each.accepted for each in settled] == [True, True]


async def test_a_lease_keeps_its_version_on_another_replica_that_never_saw_it(postgres_dsn: str) -> None:
    async with postgres.database(postgres_dsn) as (_, dsn), serving(dsn, configured()) as first:
        await deployed(first)
        await first.notify(event("a.jpg", bucket="captions-in"))
        worker = await first.worker()
        lease = await worker.lease()
        await deployed(first, definitions=tables(caption=captions() | {"output": "s3://elsewhere/"}))
        async with serving(dsn, configured()) as second:
            there = type(worker)(second.http, worker.id, worker.token)
            [upload] = await there.uploads(lease, "result.json")
            assert "/captions-out/" in str(upload.url)


async def test_a_removed_pipeline_hands_out_nothing_and_keeps_what_it_has(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await deployed(plane)
        await plane.notify(event("a.jpg", bucket="captions-in"), event("b.jpg", bucket="captions-in"))
        lease = await worker.lease()
        answer = await plane.admin("DELETE", "/v1/deployments/captions?dry_run=true")
        assert [each["change"] for each in answer.json()["changes"]] == ["removed"]
        assert names(plane) == {"photos", "caption"}
        answer = await plane.admin("DELETE", "/v1/deployments/captions")
        assert (answer.json()["version"], answer.json()["changed"]) == (2, True)
        assert names(plane) == {"photos"}
        assert (await worker.ask(wait=0)).leases == []
        # What runs is finished as it began.
        assert (await worker.post(f"leases/{lease.id}/heartbeat", {"token": lease.token})).status_code == 200
        [upload] = await worker.uploads(lease, "result.json")
        assert "/captions-out/" in str(upload.url)
        settling = [done(lease, {"result.json": "m"}, lease.expected.etag or "")]
        [settled] = (await worker.ask(0, settle=settling)).settled
        assert settled.accepted
        states = sorted(row["state"] for row in (await plane.objects()).values())
        assert states == ["done", "pending"]
        status = (await plane.admin("GET", "/v1/status")).json()["pipelines"]["caption"]
        assert (status["pool"], status["objects"]) == ("", {"done": 1, "pending": 1})
        assert await plane.notify(event("c.jpg", bucket="captions-in")) == {"ignored": 1}
        # What was kept goes on where the pipeline comes back.
        rolled = await plane.admin("POST", "/v1/deployments/captions/rollback")
        assert rolled.json()["version"] == 3, rolled.text
        assert len((await worker.ask(wait=5)).leases) == 1


async def test_a_rollback_brings_an_earlier_version_back(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await deployed(plane, note="first")
        await deployed(plane, definitions=tables(caption=captions(attempts=7)), note="second")
        assert (await deployed(plane, definitions=tables(caption=captions(attempts=7))))["changed"] is False
        tried = await plane.admin("POST", "/v1/deployments/captions/rollback", json={"version": 1, "dry_run": True})
        [change] = tried.json()["changes"][0]["fields"]
        assert (change, tried.json()["version"]) == ({"field": "attempts", "before": 7, "after": None}, 2)
        rolled = await plane.admin("POST", "/v1/deployments/captions/rollback", json={"version": 1})
        assert (rolled.json()["version"], rolled.json()["changes"][0]["fields"]) == (3, [change])
        shown = (await plane.admin("GET", "/v1/deployments/captions?limit=2")).json()
        assert shown["definitions"]["pipelines"]["caption"].get("attempts") is None
        assert [(each["version"], each["note"]) for each in shown["versions"]] == [
            (3, "rollback to version 1"), (2, "second"),
        ]  # fmt: skip
        assert shown["next"] == 2
        rest = (await plane.admin("GET", "/v1/deployments/captions?before=2")).json()
        assert ([each["note"] for each in rest["versions"]], rest["next"]) == (["first"], None)
        [listed] = (await plane.admin("GET", "/v1/deployments")).json()["deployments"]
        assert (listed["app"], listed["version"], listed["definitions"]) == ("captions", 3, 1)
        for path, code in (("captions", "unknown-version"), ("other", "unknown-app"), ("%00", "unknown-app")):
            refused = await plane.admin("POST", f"/v1/deployments/{path}/rollback", json={"version": 9})
            assert (refused.status_code, refused.json()["error"]) == (404, code)


@pytest.mark.parametrize(
    ("definitions", "field", "reason"),
    [
        (tables(caption=captions(pool="gpux")), "pipelines.caption.pool", "there is no pool 'gpux'"),
        (tables(caption=captions(models=["nsfw"])), "pipelines.caption.models", "there is no model 'nsfw'"),
        (tables(caption=captions(atempts=1)), "pipelines.caption.atempts", "Did you mean `attempts`?"),
        (tables(caption=captions() | {"input": "captions"}), "pipelines.caption.input", "s3://bucket/prefix/"),
        (tables(caption=captions() | {"output": "s3://inbox/"}), "pipelines.photos.output", "comes back to it"),
        (tables(caption=captions() | {"handler": "nothing"}), "pipelines.caption.handler", "nothing"),
        (
            tables(caption=captions(callback={"url": "https://a.example.com/"})),
            "pipelines.caption.callback",
            "no secret",
        ),
        (tables(caption=captions() | {"options": {}}), "pipelines.caption.options.argv", "Field required"),
        ({"pools": {"rented": {"provider": "nowhere"}}}, "pools.rented.provider", "there is no provider 'nowhere'"),
        ({"piplines": {}}, "piplines", "Did you mean `pipelines`?"),
        ({"providers": {}}, "providers", "there is no such setting"),
        ({"pipelines": {"Caption": captions()}}, "pipelines.Caption", "1 to 50 of a-z"),
    ],
)
async def test_what_cannot_hold_is_refused_whole_with_field_and_reason(
    postgres_dsn: str, definitions: dict[str, Any], field: str, reason: str
) -> None:
    config = configured({"photos": pipeline(**QUOTED), "more": pipeline("captions-out", "third", **QUOTED)})
    if field == "pipelines.photos.output":
        config = configured({"photos": pipeline("inbox", "captions-in", **QUOTED)})
    async with control_plane(postgres_dsn, config, loops=False) as plane:
        before = (await plane.admin("GET", "/v1/definitions")).json()
        good = {"pools": {"spare": {"provider": "none"}}}
        merged = {kind: {**good.get(kind, {}), **definitions.get(kind, {})} for kind in {*good, *definitions}}
        for dry_run in (True, False):
            response = await deploy(plane, definitions=merged, dry_run=dry_run)
            assert (response.status_code, response.json()["error"]) == (422, "invalid-definitions"), response.text
            faults = {each["field"]: each["reason"] for each in response.json()["faults"]}
            assert reason in faults[field], faults
            assert field in response.json()["message"]
        assert (await plane.admin("GET", "/v1/definitions")).json() == before


async def test_names_are_unique_across_owners_and_versions_can_be_expected(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        taken = await deploy(plane, definitions=tables(photos=captions()))
        assert (taken.status_code, taken.json()["error"]) == (409, "name-taken")
        assert "pipelines.photos: file defines one of this name" in taken.json()["message"]
        await deployed(plane, expected_version=0)
        taken = await deploy(plane, "other")
        assert "deploy:captions" in taken.json()["message"]
        for version in (0, 2):
            late = await deploy(plane, expected_version=version)
            assert (late.status_code, late.json()["error"]) == (409, "version-conflict")
            assert "it is at version 1" in late.json()["message"]
        assert (await deployed(plane, expected_version=1))["version"] == 1


async def test_every_replica_shows_a_change_at_once(postgres_dsn: str) -> None:
    async with replicas(postgres_dsn, 3) as planes:
        await deployed(planes[0])
        await until(lambda: all(names(plane) == {"photos", "caption"} for plane in planes))
        await planes[1].admin("DELETE", "/v1/deployments/captions")
        await until(lambda: all(names(plane) == {"photos"} for plane in planes))


async def test_a_change_whose_announcement_was_lost_is_seen_all_the_same(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        await plane.sql("delete from definitions where name = 'photos'")
        await plane.sql("insert into definition_changes (owner, version, note, changed_by) values ('x', 1, '', '')")
        await until(lambda: names(plane) == set())


async def test_what_is_defined_is_listed_with_its_owner(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await deployed(plane)
        response = await plane.admin("GET", "/v1/definitions")
        assert {(each["kind"], each["name"], each["owner"]) for each in response.json()["definitions"]} == {
            ("pipelines", "photos", "file"),
            ("pools", "local", "file"),
            ("pipelines", "caption", "deploy:captions"),
        }
        assert (response.json()["left_out"], response.json()["file_differs"]) == ({}, False)


async def test_a_comparison_changes_nothing(postgres_dsn: str) -> None:
    mine = {"pipelines": {"photos": pipeline(**QUOTED)}, "pools": {"local": {"provider": "none"}}}
    async with control_plane(postgres_dsn, Config.model_validate(mine), loops=False) as plane:
        same, less = [
            await plane.admin("POST", "/v1/definitions/compare", json={"owner": "file", "definitions": definitions})
            for definitions in (mine, {"pools": mine["pools"]})
        ]
        assert (same.json()["changed"], same.json()["changes"]) == (False, [])
        assert [(each["name"], each["change"]) for each in less.json()["changes"]] == [("photos", "removed")]
        assert names(plane) == {"photos"}


# ── the file's own set ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_file_that_was_started_last_holds_everywhere(postgres_dsn: str) -> None:
    other = configured({"videos": pipeline(**QUOTED)})
    async with postgres.database(postgres_dsn) as (_, dsn), serving(dsn, configured()) as first:
        async with serving(dsn, other) as second:
            await until(lambda: names(first) == {"videos"})
            assert names(second) == {"videos"}
            listed = [(await each.admin("GET", "/v1/definitions")).json() for each in (first, second)]
            assert [each["file_differs"] for each in listed] == [True, False]
            assert listed[0]["definitions"] == listed[1]["definitions"]
        async with serving(dsn, other) as again:  # the same file once more is no change
            assert (await again.admin("GET", "/v1/definitions")).json()["revision"] == listed[0]["revision"]


async def test_a_file_that_would_put_an_app_out_does_not_start(postgres_dsn: str) -> None:
    pools = {"local": {"provider": "none"}, "gpu": {"provider": "none"}}
    async with postgres.database(postgres_dsn) as (_, dsn):
        async with serving(dsn, configured(pools=pools), loops=False) as plane:
            await deployed(plane, definitions=tables(caption=captions(pool="gpu")))
        with pytest.raises(ConfigError, match=r"pipelines.caption.pool: there is no pool 'gpu'.*deploy:captions needs"):
            async with serving(dsn, configured(), loops=False):
                pass
        with pytest.raises(ConfigError, match=r"pipelines.caption: deploy:captions defines one of this name"):
            async with serving(dsn, configured({"caption": pipeline(**QUOTED)}, pools=pools), loops=False):
                pass
        async with serving(dsn, configured(pools=pools), loops=False) as plane:
            assert names(plane) == {"photos", "caption"}


async def test_an_app_that_holds_no_more_is_left_out_and_shown(postgres_dsn: str) -> None:
    async with postgres.database(postgres_dsn) as (_, dsn):
        async with serving(dsn, configured(), loops=False) as plane:
            await deployed(plane)
            await deployed(plane, "good", definitions=tables(good=pipeline("good-in", "good-out", **QUOTED)))
            # As a version of Yurt would find it that knows another handler.
            await plane.sql(
                "update definitions set body = (body::jsonb || '{\"handler\": \"old\"}')::json where name = 'caption'"
            )
        async with serving(dsn, configured(), loops=False) as plane:
            assert names(plane) == {"photos", "good"}
            shown = (await plane.admin("GET", "/v1/definitions")).json()
            assert [each["field"] for each in shown["left_out"]["deploy:captions"]] == ["pipelines.caption.handler"]
            assert (await plane.admin("GET", "/v1/deployments/captions")).json()["left_out"]
            assert (await deployed(plane, "good", definitions={}))["changed"]  # the others are not held up
            assert (await deployed(plane))["changed"]
            assert names(plane) == {"photos", "caption"}


async def test_definitions_are_for_administrators(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        for method, path in (
            ("GET", "definitions"), ("POST", "definitions/compare"), ("POST", "deployments"), ("GET", "deployments"),
            ("GET", "deployments/a"), ("DELETE", "deployments/a"), ("POST", "deployments/a/rollback"),
        ):  # fmt: skip
            assert (await plane.http.request(method, f"/v1/{path}")).status_code == 401
