"""Definitions on the page: what holds and who defined it, what each version changed, rolling back and removing."""

from __future__ import annotations

from tests.webhook.page.contents import deploy
from tests.webhook.page.visits import VIEWER, visiting
from tests.webhook.plane import RunningPlane, control_plane


def program_of(plane: RunningPlane) -> str:
    """The program that the pipeline runs as this replica sees it; empty: it is not defined."""
    found = plane.services.pipelines.named("caption")
    argv = found.options["argv"] if found else None
    return str(argv[0]) if isinstance(argv, list) else ""


async def test_a_version_is_compared_and_rolled_back_to(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        text = await visitor.page("/definitions")
        assert "No app was deployed" in text
        assert "yurt.toml" in text
        await deploy(plane, "cp", "commit <1>")
        await deploy(plane, "ln", attempts=7)
        text = await visitor.page("/definitions")
        assert 'href="/definitions/captions"' in text
        assert 'href="/objects?pipeline=caption"' in text
        app = await visitor.page("/definitions/captions")
        assert "commit &lt;1&gt;" in app
        assert "yurt definitions show captions" in app
        changed = await visitor.page("/definitions/captions/2")
        assert '<dt>attempts</dt><dd><span class="hint">not set</span> <ins>7</ins>' in changed
        assert "&#34;cp&#34;" in changed
        assert "added" in await visitor.page("/definitions/captions/1")

        asked = await visitor.submit("/definitions/captions", version="1")
        assert "Let version 1 of captions hold again?" in asked.text
        assert "yurt rollback captions 1" in asked.text
        assert '<del>7</del> <span class="hint">not set</span>' in asked.text
        assert program_of(plane) == "ln"
        done = await visitor.submit("/definitions/captions", version="1", confirmed="1")
        assert "The earlier version holds again" in await visitor.page(done.headers["location"])
        assert program_of(plane) == "cp"
        same = await visitor.submit("/definitions/captions", version="1")
        assert "Nothing differs." in same.text
        assert "Roll back" not in same.text

        asked = await visitor.submit("/definitions/captions", verb="remove")
        assert "yurt definitions remove captions" in asked.text
        done = await visitor.submit("/definitions/captions", verb="remove", confirmed="1")
        assert "The app was removed." in await visitor.page(done.headers["location"])
        assert program_of(plane) == ""
        assert "It defines nothing now" in await visitor.page("/definitions/captions")


async def test_what_is_not_there_and_what_a_viewer_may_not(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn, loops=False, yurt_viewer_token=VIEWER) as plane,
        visiting(plane) as visitor,
        visiting(plane, VIEWER) as viewer,
    ):
        await deploy(plane, "cp")
        await deploy(plane, "ln")
        for path in ("captions/3", "captions/0", "captions/x", "captions/99999999999", "other/1", "a%00b", "file"):
            assert (await visitor.get(f"/definitions/{path}")).status_code == 404, path
        for version, status in (("9", 404), ("x", 422), ("-1", 422)):
            assert (await visitor.submit("/definitions/captions", version=version)).status_code == status, version
        for path in ("/definitions", "/definitions/captions", "/definitions/captions/1"):
            assert "<form method" not in (await viewer.page(path)).partition("<main")[2], path
        refused = await viewer.http.post("/definitions/captions", data={"version": "1"}, headers=viewer.from_here())
        assert refused.status_code == 403
        assert program_of(plane) == "ln"


async def test_the_policy_follows_the_definitions(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn, loops=False, store="https://s3.eu-central-1.amazonaws.com") as plane,
        visiting(plane) as visitor,
    ):
        policy = (await visitor.get("/definitions")).headers["content-security-policy"]
        assert "captions-out" not in policy
        await deploy(plane, "cp")
        policy = (await visitor.get("/definitions")).headers["content-security-policy"]
        assert "https://captions-out.s3.eu-central-1.amazonaws.com" in policy
