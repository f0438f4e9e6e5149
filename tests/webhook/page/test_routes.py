"""How failures reach people as a page, and scripts as JSON; and what a name that resolves to loopback is told."""

from __future__ import annotations

from tests.webhook.page.visits import visiting
from tests.webhook.plane import control_plane


async def test_people_get_a_page_and_scripts_json(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        response = await visitor.get("/machines/7")
        assert response.status_code == 404
        assert "There is no such thing" in response.text
        assert "There is no machine of that number, or it was pruned." in response.text
        assert (await visitor.get("/original", pipeline="no", key="x")).json()["error"] == "unknown-pipeline"
        # What is no path of the page is answered by the API, as before.
        assert (await visitor.get("/nothing")).json()["error"] == "not-found"
        assert (await visitor.http.put("/machines")).status_code == 405


async def test_a_foreign_name_for_loopback_reaches_nothing_of_the_page(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        for path in ("/", "/sign-in", "/live/events", "/assets/x/page.js"):
            response = await visitor.http.get(path, headers={"host": "evil.example"})
            assert response.status_code == 403, path
