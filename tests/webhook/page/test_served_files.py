"""The page's own files: their sizes, their caching, and that nothing else is served."""

from __future__ import annotations

import re

from tests.webhook.page.visits import visiting
from tests.webhook.plane import control_plane
from webhook.page.served_files import Assets

MOST_SCRIPT_BYTES, MOST_STYLE_BYTES = 30_000, 20_000


def test_script_and_style_are_small_and_of_this_page_alone() -> None:
    files = Assets().by_name
    assert sum(len(file.content) for name, file in files.items() if name.endswith(".js")) <= MOST_SCRIPT_BYTES
    assert sum(len(file.content) for name, file in files.items() if name.endswith(".css")) <= MOST_STYLE_BYTES
    for name, file in files.items():
        text = file.content.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\(|eval\(|Function\(", text), name


async def test_files_are_cached_for_ever_under_an_address_of_their_content(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane, None) as visitor:
        named = re.findall(r'(?:src|href)="(/assets/[^"]+)"', await visitor.page("/sign-in"))
        assert {path.rpartition("/")[2] for path in named} == {"icon.svg", "page.css", "page.js"}
        for path in named:
            response = await visitor.get(path)
            assert response.status_code == 200
            assert "immutable" in response.headers["cache-control"]
            assert response.headers["x-content-type-options"] == "nosniff"
        for path in ("/assets/000000000000/page.js", "/assets/x/..%2F..%2Fpage.py", "/assets/x/templates"):
            assert (await visitor.get(path)).status_code == 404, path
