"""What runs printed, kept and shown."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.webhook.plane import ADMIN, RunningPlane, configured, control_plane, event, pipeline
from tests.webhook.settlements import done, settle
from webhook.ledger import run_logs


async def asked(plane: RunningPlane, **query: object) -> httpx.Response:
    return await plane.http.get("/v1/logs", params=query, headers={"authorization": f"Bearer {ADMIN}"})  # type: ignore[arg-type]


async def runs(plane: RunningPlane, **query: object) -> list[dict[str, Any]]:
    response = await asked(plane, **{"pipeline": "photos", **query})
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["runs"]
    return found


async def test_runs_that_printed_or_failed_are_kept(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await settle(plane, worker, "silent.jpg")
        await settle(plane, worker, "a.jpg", log="one\ntwo\0")
        await settle(plane, worker, "b.jpg", reason="unreadable", message="No photo.", retry=False)
        first, second = await runs(plane)
        assert (first["key"], first["outcome"], first["log"]) == ("a.jpg", "done", "one\ntwo\N{REPLACEMENT CHARACTER}")
        assert (first["pipeline"], first["worker_id"], first["reason"]) == ("photos", worker.id, "")
        told = [second[name] for name in ("key", "outcome", "reason", "message", "retry")]
        assert told == ["b.jpg", "failed", "unreadable", "No photo.", False]
        assert await runs(plane, after=first["id"]) == [second]
        assert await runs(plane, limit=1) == [second], "the newest"
        assert await runs(plane, after=second["id"]) == []
        assert await runs(plane, after=0, limit=1) == [first], "the first after it"
        assert await runs(plane, failed=True) == [second]
        assert await runs(plane, failed=True, after=second["id"]) == []


async def test_each_attempt_that_fails_is_kept(postgres_dsn: str) -> None:
    config = configured(pipelines={"photos": pipeline(backoff_seconds=0.001, backoff_limit_seconds=0.001)})
    async with control_plane(postgres_dsn, config) as plane:
        worker = await plane.worker()
        await settle(plane, worker, "a.jpg", reason="crashed", log="first", retry=True)
        lease = await worker.lease()
        await worker.ask(most=0, settle=[done(lease, log="second")])
        assert [(run["log"], run["outcome"], run["retry"]) for run in await runs(plane)] == [
            ("first", "failed", True),
            ("second", "done", False),
        ]


async def test_a_settlement_that_came_too_late_leaves_no_log(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"))
        lease = await worker.lease()
        late = done(lease, token=lease.token + 1, log="late")
        [settled] = (await worker.ask(most=0, settle=[late])).settled
        assert not settled.accepted
        assert await runs(plane) == []


async def test_the_oldest_of_a_pipeline_make_room(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "KEPT_RUNS", 3)
    config = configured(pipelines={"photos": pipeline(), "papers": pipeline("papers", "papers-out")})
    async with control_plane(postgres_dsn, config) as plane:
        worker = await plane.worker()
        await settle(plane, worker, "a.pdf", "papers", log="of the other")
        for number in range(5):
            await settle(plane, worker, f"{number}.jpg", log=f"{number}")
        assert [run["log"] for run in await runs(plane)] == ["2", "3", "4"]
        assert [run["log"] for run in await runs(plane, pipeline="papers")] == ["of the other"]


async def test_what_is_asked_wrong_is_refused(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        assert (await plane.http.get("/v1/logs?pipeline=photos")).status_code == 401
        unknown = await asked(plane, pipeline="phots")
        assert (unknown.status_code, unknown.json()["error"]) == (404, "unknown-pipeline")
        for query in ({}, {"pipeline": "photos", "limit": 101}, {"pipeline": "photos", "after": -1}):
            assert (await asked(plane, **query)).status_code == 422
