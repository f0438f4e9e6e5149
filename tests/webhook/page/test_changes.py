"""What the page changes: it asks first, says how many, does exactly that, and shows the command that does the same."""

from __future__ import annotations

import re

from tests.webhook.ordered_machines import intended
from tests.webhook.page.visits import parked, visiting
from tests.webhook.plane import configured, control_plane, pipeline

CONFIG = configured({"photos": pipeline(conditions="quoted", attempts=1)})


async def test_redriving_the_ticked_asks_first_and_changes_these_alone(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, CONFIG, loops=False) as plane, visiting(plane) as visitor:
        ids = await parked(plane, "a.jpg", "b.jpg", "c.jpg")
        chosen = [str(ids["a.jpg"]), str(ids["c.jpg"])]
        asked = await visitor.submit("/parked", ids=chosen, verb="redrive")
        assert asked.status_code == 200
        assert "Redrive 2 objects?" in asked.text
        assert f"yurt parked redrive {chosen[0]} {chosen[1]}" in asked.text
        assert {row["state"] for row in (await plane.objects()).values()} == {"parked"}
        done = await visitor.submit("/parked", ids=chosen, verb="redrive", confirmed="1")
        assert done.status_code == 303
        assert "2 will be processed again." in await visitor.page(done.headers["location"])
        states = {key: row["state"] for key, row in (await plane.objects()).items()}
        assert states == {"a.jpg": "pending", "b.jpg": "parked", "c.jpg": "pending"}


async def test_forgetting_all_that_match_a_search(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, CONFIG, loops=False) as plane, visiting(plane) as visitor:
        await parked(plane, "x/a.jpg", "x/b.jpg", "y/c.jpg")
        text = await visitor.page("/parked", prefix="x/")
        assert 'name="prefix" value="x/"' in text
        asked = await visitor.submit("/parked", prefix="x/", verb="forget")
        assert "Forget 2 objects?" in asked.text
        assert "yurt parked forget --prefix x/" in asked.text
        await visitor.submit("/parked", prefix="x/", verb="forget", confirmed="1")
        states = {key: row["state"] for key, row in (await plane.objects()).items()}
        assert states == {"x/a.jpg": "forgotten", "x/b.jpg": "forgotten", "y/c.jpg": "parked"}
        await visitor.submit("/parked", all="1", verb="redrive", confirmed="1")
        assert (await plane.objects())["y/c.jpg"]["state"] == "pending"


async def test_nothing_chosen_changes_nothing(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, CONFIG, loops=False) as plane, visiting(plane) as visitor:
        await parked(plane, "a.jpg")
        for fields in ({}, {"confirmed": "1"}, {"ids": "", "confirmed": "1"}, {"ids": "x"}, {"color": "red"}):
            response = await visitor.submit("/parked", verb="forget", **fields)
            assert response.status_code == 422, fields
        assert (await plane.objects())["a.jpg"]["state"] == "parked"


async def test_a_replay_says_what_still_cannot_be_read(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        await plane.post_events({"nonsense": 1}, {"nonsense": 2})
        asked = await visitor.submit("/quarantine", all="1", verb="replay")
        assert "Replay 0 texts?" in asked.text
        assert "2 still cannot be read" in asked.text
        assert "yurt quarantine replay --all" in asked.text


async def test_a_machine_is_drained_or_slain_after_a_question(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        worker, other = await plane.worker(), await intended(plane)
        asked = await visitor.submit(f"/machines/{worker.id}", verb="drain")
        assert f"yurt machines drain {worker.id}" in asked.text
        response = await visitor.submit(f"/machines/{worker.id}", verb="drain", confirmed="1")
        assert "gets no more work" in await visitor.page(response.headers["location"])
        await visitor.submit(f"/machines/{other.id}", verb="slay", confirmed="1")
        rows = {row["id"]: row["state"] for row in await plane.sql("select id, state from workers")}
        assert rows == {worker.id: "draining", other.id: "slaying"}
        assert (await visitor.submit("/machines/12345", verb="slay")).status_code == 404
        conflict = await visitor.submit(f"/machines/{other.id}", verb="drain", confirmed="1")
        assert conflict.status_code in (303, 409)


async def test_a_sweep_is_ordered_and_cancelled(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        response = await visitor.submit("/sweeps", pipeline="photos", prefix="", kind="full", dry_run="1")
        assert "One ordered." in await visitor.page(response.headers["location"])
        [row] = await plane.sql("select id, kind, dry_run from sweeps")
        assert (row["kind"], row["dry_run"]) == ("full", True)
        assert re.search(rf'action="/sweeps/{row["id"]}/cancel"', await visitor.page("/sweeps"))
        await visitor.submit(f"/sweeps/{row['id']}/cancel")
        [row] = await plane.sql("select state from sweeps")
        assert row["state"] == "cancelled"
        assert (await visitor.submit("/sweeps", pipeline="unknown")).status_code == 404
