"""Whether it lives, and whether it can work."""

from __future__ import annotations

from tests.polling import until
from tests.webhook.plane import configured, control_plane, event, killed, serving
from webhook.ledger.postgres import PostgresServer


async def test_a_plane_lives_and_is_ready(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        for path in ("/healthz", "/readyz"):
            for method in ("GET", "HEAD"):
                assert (await plane.http.request(method, path)).status_code == 200
            assert (await plane.http.get(path)).json() == {"status": "ok"}


async def test_one_that_is_about_to_leave_lives_and_is_not_ready(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        await plane.plane.leave()
        response = await plane.http.get("/readyz")
        assert (response.status_code, response.json()["error"]) == (503, "leaving")
        assert (await plane.http.get("/healthz")).status_code == 200
        assert await plane.notify(event("late.jpg")) == {"accepted": 1}  # what still comes is still taken


async def test_without_its_ledger_it_lives_and_is_not_ready_until_it_is_back(mortal: PostgresServer) -> None:
    async with serving(mortal.dsn, configured()) as plane:
        before = (await plane.http.get("/metrics")).text
        await killed(mortal, plane)
        try:
            response = await plane.http.get("/readyz")
            assert (response.status_code, response.json()["error"]) == (503, "ledger-unavailable")
            assert int(response.headers["retry-after"]) >= 1
            assert (await plane.http.get("/healthz")).status_code == 200
            after = await plane.http.get("/metrics")
            assert after.status_code == 200
            assert [line for line in before.splitlines() if line.startswith("yurt_events_total")] == [
                line for line in after.text.splitlines() if line.startswith("yurt_events_total")
            ]
        finally:
            mortal.start()
        await until(plane.ready)
