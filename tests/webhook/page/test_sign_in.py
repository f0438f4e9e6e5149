"""Signing in: by token, by link, attempts that are too many, a page that is closed, and signing out."""

from __future__ import annotations

import pytest

from tests.webhook.page.visits import VIEWER, visiting
from tests.webhook.plane import ADMIN, control_plane
from webhook.page.sign_in import ATTEMPTS_AT_ONCE


async def test_without_a_session_every_view_leads_to_the_form(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane, None) as visitor:
        for path in (
            "/machines",
            "/parked",
            "/quarantine",
            "/costs",
            "/sweeps",
            "/objects",
            "/parked/1",
            "/machines/1",
        ):
            response = await visitor.get(path)
            assert (response.status_code, response.headers["location"].partition("?")[0]) == (303, "/sign-in"), path
        assert (await visitor.get("/")).headers["location"] == "/sign-in"
        for path in ("/live/events", "/session", "/result", "/original"):
            assert (await visitor.get(path)).status_code == 401, path


async def test_the_admin_token_signs_in_and_what_was_asked_for_follows(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane, None) as visitor:
        location = (await visitor.get("/parked", reason="a b&c")).headers["location"]
        assert 'value="/parked?reason=a+b%26c"' in (await visitor.page(location))
        wrong = await visitor.sign_in("not the token of this one")
        assert wrong.status_code == 401
        assert "set-cookie" not in wrong.headers
        assert "not the token of this one" not in wrong.text
        response = await visitor.http.post(
            "/sign-in", data={"token": f" {ADMIN}\n", "next": "/parked?reason=a"}, headers=visitor.from_here()
        )
        assert (response.status_code, response.headers["location"]) == (303, "/parked?reason=a")
        assert "HttpOnly" in response.headers["set-cookie"]
        assert (await visitor.get("/session")).status_code == 204
        assert "Administrator" in await visitor.page("/parked")


@pytest.mark.parametrize(
    "following", ["//evil.example/", "https://evil.example/", "/\\evil.example", "/a\r\nx: y", "x"]
)
async def test_nobody_is_sent_to_another_site(postgres_dsn: str, following: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane, None) as visitor:
        fields = {"token": ADMIN, "next": following}
        response = await visitor.http.post("/sign-in", data=fields, headers=visitor.from_here())
        assert response.headers["location"] == "/"


async def test_a_page_of_another_site_cannot_sign_anybody_in(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane, None) as visitor:
        for origin in ({"origin": "null"}, {}, {"origin": f"http://127.0.0.1:{plane.port + 1}"}):
            response = await visitor.http.post("/sign-in", data={"token": ADMIN}, headers=origin)
            assert response.status_code == 403
            assert "set-cookie" not in response.headers


async def test_attempts_are_limited_and_then_even_the_right_token_waits(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane, None) as visitor:
        for _ in range(ATTEMPTS_AT_ONCE):
            assert (await visitor.sign_in("wrong")).status_code == 401
        assert (await visitor.sign_in(ADMIN)).status_code == 429


async def test_a_viewer_looks_and_changes_nothing(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn, loops=False, yurt_viewer_token=VIEWER) as plane,
        visiting(plane, VIEWER) as visitor,
    ):
        assert "Looking only" in await visitor.page("/")
        assert "data-csrf" not in await visitor.page("/")
        assert "Redrive" not in await visitor.page("/parked")
        for path in ("/parked", "/quarantine", "/machines/1", "/sweeps", "/sweeps/1/cancel", "/drops"):
            response = await visitor.http.post(path, data={"ids": "1"}, headers=visitor.from_here())
            assert response.status_code == 403, path
        # The API stays closed to the viewer's token.
        header = {"authorization": f"Bearer {VIEWER}"}
        assert (await plane.http.get("/v1/status", headers=header)).status_code == 401


async def test_a_link_signs_in_one_browser_once(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane, None) as visitor:
        link = (await plane.admin("POST", "/v1/sign-in-links")).json()
        path, _, code = link["path"].partition("#")
        assert path == "/enter"
        assert 'name="code"' in await visitor.page(path)
        response = await visitor.http.post("/enter", data={"code": code}, headers=visitor.from_here())
        assert (response.status_code, response.headers["location"]) == (303, "/")
        assert "Administrator" in await visitor.page("/")
        async with visiting(plane, None) as second:
            again = await second.http.post("/enter", data={"code": code}, headers=second.from_here())
            assert again.status_code == 401
            assert "set-cookie" not in again.headers
        [row] = await plane.sql("select count(*) as links from sign_in_links")
        assert row["links"] == 0


async def test_a_link_that_is_late_or_made_up_signs_nobody_in(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane, None) as visitor:
        link = (await plane.admin("POST", "/v1/sign-in-links", json={"valid_seconds": 60})).json()
        await plane.sql("update sign_in_links set expires_at = expires_at - interval '61 seconds'")
        for code in (link["path"].partition("#")[2], "made-up", "", "x" * 5000):
            response = await visitor.http.post("/enter", data={"code": code}, headers=visitor.from_here())
            assert response.status_code == 401


async def test_signing_out_ends_the_session_in_this_browser(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        await visitor.http.post("/sign-out", headers=visitor.from_here())
        assert (await visitor.get("/")).status_code == 303


async def test_without_an_admin_token_the_page_is_closed_and_says_what_to_do(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False, yurt_admin_token="") as plane, visiting(plane, None) as visitor:
        for path in ("/", "/sign-in", "/enter", "/machines"):
            response = await visitor.get(path)
            assert response.status_code == 403, path
            assert "YURT_ADMIN_TOKEN" in response.text, path
        assert (await visitor.sign_in("")).status_code == 403


async def test_the_cookie_is_for_https_alone_where_the_page_is_reached_so(postgres_dsn: str) -> None:
    from tests.webhook.plane import configured

    config = configured(server={"public_url": "https://yurt.example.com"})
    async with control_plane(postgres_dsn, config, loops=False) as plane, visiting(plane, None) as visitor:
        headers = {"host": "yurt.example.com", "origin": "https://yurt.example.com"}
        response = await visitor.http.post("/sign-in", data={"token": ADMIN}, headers=headers)
        assert "Secure" in response.headers["set-cookie"]
        assert response.headers["set-cookie"].startswith("__Host-")
