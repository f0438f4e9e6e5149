"""What a request that changes something has to prove: the session, the page's origin, the session's token, its size."""

from __future__ import annotations

from tests.webhook.page.visits import visiting
from tests.webhook.plane import control_plane
from webhook.page.access import MAX_FORM_BYTES


async def test_a_change_needs_the_session_the_origin_and_the_token(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        csrf, here = await visitor.csrf(), visitor.from_here()
        order = {"pipeline": "photos", "dry_run": "1"}

        async def post(fields: dict[str, str], headers: dict[str, str]) -> int:
            return (await visitor.http.post("/sweeps", data={**order, **fields}, headers=headers)).status_code

        assert await post({"csrf": csrf}, here) == 303
        assert await post({}, here) == 403
        assert await post({"csrf": csrf[:-1]}, here) == 403
        assert await post({"csrf": "ü"}, here) == 403
        assert await post({"csrf": csrf}, {}) == 403
        assert await post({"csrf": csrf}, {"origin": "null"}) == 403
        assert await post({"csrf": csrf}, {"origin": "http://localhost.evil.example"}) == 403
        # The bucket may be on the same machine: to cookies that is the same site, and it is another origin.
        assert await post({"csrf": csrf}, {"origin": f"http://127.0.0.1:{plane.port + 1}"}) == 403
        async with visiting(plane) as other:
            assert await post({"csrf": await other.csrf()}, here) == 403
        async with visiting(plane, None) as stranger:
            response = await stranger.http.post("/sweeps", data={**order, "csrf": csrf}, headers=here)
            assert response.headers["location"] == "/sign-in"
        [row] = await plane.sql("select count(*) as sweeps from sweeps")
        assert row["sweeps"] == 1


async def test_scripts_prove_the_same_with_a_header(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        asked = {"pipeline": "photos", "keys": ["a.jpg"]}
        assert (await visitor.script("/drops/fates", asked)).status_code == 200
        response = await visitor.http.post("/drops/fates", json=asked, headers=visitor.from_here())
        assert (response.status_code, response.json()["error"]) == (403, "csrf")


async def test_a_form_has_limits(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        assert (await visitor.submit("/parked", ids="1" * MAX_FORM_BYTES)).status_code == 413
        assert (await visitor.submit("/parked", ids=["1"] * 3_000)).status_code == 422
        response = await visitor.http.post("/parked", content=b"\xff=\xfe", headers=visitor.from_here())
        assert response.status_code == 422
