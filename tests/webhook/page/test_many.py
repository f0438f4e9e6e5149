"""Views over 10,000 objects and 500 machines: each answers with one page, and pages go through all of it."""

from __future__ import annotations

import html
import re

from tests.webhook.page.many import MACHINES, OBJECTS, fill
from tests.webhook.page.visits import Visitor, visiting
from tests.webhook.plane import control_plane

PAGE_ROWS = 50
_MOST_BYTES = 150_000
"""Of one view: the live one has a link for each machine."""


async def pages(visitor: Visitor, path: str, most: int) -> list[str]:
    """The rows' keys of a view and of those that its link to the next page leads to, up to ``most`` pages."""
    keys: list[str] = []
    for _ in range(most):
        text = await visitor.page(path)
        assert len(text) < _MOST_BYTES, path
        keys += re.findall(r'<tr data-key="([^"]+)"', text)
        links = re.findall(r'<p class="pages"><a href="([^"]+(?:after|before)=[^"]+)"', text)
        if not links:
            break
        path = html.unescape(links[0])
    return keys


async def test_each_view_answers_with_one_page_and_goes_on_without_a_gap(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        await fill(plane.dsn)
        await plane.services.settles.number()
        for path in ("/objects", "/objects?verdict=ok", "/parked", "/quarantine", "/tokens", "/sweeps", "/callbacks"):
            keys = await pages(visitor, path, 3)
            distinct = [key for key in dict.fromkeys(keys) if key != "photos"]  # a pipeline above the callbacks
            assert len(distinct) == 3 * PAGE_ROWS, path
        refused = await pages(visitor, "/objects?verdict=refused", 10)
        assert len(set(refused)) == len(refused) == OBJECTS // 100
        review = await pages(visitor, "/objects?verdict=review&part=03.jpg", 10)
        assert len(review) == OBJECTS // 100
        assert len({*await pages(visitor, "/machines", 9)}) == MACHINES
        live = await visitor.page("/")
        assert live.count('<a href="/machines/') == MACHINES
        assert live.count('class="tile done"') == 12
        assert "1,000 parked" in live
        for path in ("/costs", "/services", "/definitions"):
            assert len(await visitor.page(path)) < _MOST_BYTES
