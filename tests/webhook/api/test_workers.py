"""An operator revokes a worker over HTTP, and what it reported is processed again."""

from __future__ import annotations

import httpx

from tests.webhook.plane import RunningPlane, control_plane, event
from tests.webhook.settlements import done


async def distrust(plane: RunningPlane, worker: object, **body: object) -> httpx.Response:
    return await plane.admin("POST", f"/v1/workers/{worker}/distrust", json=body)


async def test_a_worker_is_revoked_and_its_work_done_again(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        liar = await plane.worker()
        await plane.notify(event("a.jpg"))
        lease = await liar.lease()
        await liar.ask(most=0, settle=[done(lease)])
        response = await distrust(plane, liar.id, why="Its results are not of these photos.")
        assert (response.status_code, response.json()) == (200, {"objects": 1, "next": None})
        honest = await plane.worker()
        again = await honest.lease()
        assert again.key == "a.jpg"
        assert "if-none-match" not in again.input.headers
        [suspect] = (await plane.admin("GET", "/v1/status")).json()["suspects"]
        assert suspect["worker"] == liar.id
        assert (suspect["reason"], suspect["why"]) == ("distrusted", "Its results are not of these photos.")


async def test_an_unknown_worker_is_told(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        for unknown in (4711, "x", 2**63):
            response = await distrust(plane, unknown)
            assert (response.status_code, response.json()["error"]) == (404, "unknown-worker")
        assert (await plane.http.post("/v1/workers/1/distrust", json={})).status_code == 401
