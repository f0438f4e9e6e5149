"""Searches over objects: pages join without a gap, and one looks at so many rows only."""

from __future__ import annotations

import pytest

from tests.webhook.plane import control_plane, event
from webhook.ledger import objects
from webhook.ledger.objects import ObjectRows, ObjectSelection


async def test_a_search_for_what_is_rare_goes_on_in_the_next_one(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "LOOKED_AT", 10)
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.notify(*(event(f"{number:02}.jpg") for number in range(35)))
        [number] = plane.services.pipelines.by_id
        rows, which = ObjectRows(plane.services.ledger), ObjectSelection(number, part="33")
        seen, after, searches = [], "", 0
        while True:
            found = await rows.page(which, after)
            seen += [row.key for row in found.objects]
            searches += 1
            if found.next is None:
                break
            after = found.next
        assert (seen, searches) == (["33.jpg"], 4)


async def test_pages_join_without_a_gap(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        keys = sorted(f"{name}{number}.jpg" for name in ("a/", "b/é", "b/\U0001f3d5", "c/") for number in range(5))
        await plane.notify(*(event(key) for key in keys))
        [number] = plane.services.pipelines.by_id
        rows = ObjectRows(plane.services.ledger)
        seen, after = [], ""
        while True:
            found = await rows.page(ObjectSelection(number, prefix="b/"), after, 3)
            seen += [row.key for row in found.objects]
            if found.next is None:
                break
            after = found.next
        assert seen == sorted((key for key in keys if key.startswith("b/")), key=str.encode)


async def test_progress_is_by_position(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.notify(event("a.jpg"))
        [number] = plane.services.pipelines.by_id
        rows = ObjectRows(plane.services.ledger)
        found = await rows.progress([(number, "no.jpg"), (number, "a.jpg"), (number + 1, "a.jpg")])
        assert [row and row.state for row in found] == [None, "pending", None]
        assert await rows.story(number, "no.jpg") is None
