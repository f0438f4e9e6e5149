"""Tokens of apps on the page: made and shown once, listed without the token, revoked after a question."""

from __future__ import annotations

import html
import re

from tests.webhook.page.visits import VIEWER, visiting
from tests.webhook.plane import control_plane

GOOD = {"name": "gallery <1>", "scopes": "upload:photos  read:*", "expires": "30d"}


async def test_a_token_is_shown_once_works_and_is_revoked(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        assert "There is no token" in await visitor.page("/tokens")
        made = await visitor.submit("/tokens", **GOOD)
        assert made.status_code == 201
        assert made.headers["cache-control"] == "no-store"
        [secret] = re.findall(r'id="token">(yurt_app_[^<]+)<', made.text)
        said = html.unescape(made.text)
        assert "yurt tokens create 'gallery <1>' --scope upload:photos --scope 'read:*' --expires 30d" in said
        own = await plane.http.get("/v1/token", headers={"authorization": f"Bearer {secret}"})
        assert own.json() == {"name": "gallery <1>", "scopes": ["read:*", "upload:photos"]}
        listed = await visitor.page("/tokens")
        assert "gallery &lt;1&gt;" in listed
        assert secret not in listed
        [row] = await plane.sql("select id, extract(days from expires_at - created_at) as days from app_tokens")
        assert row["days"] == 30

        asked = await visitor.submit(f"/tokens/{row['id']}/revoke")
        assert "Revoke the token of gallery &lt;1&gt;?" in asked.text
        assert f"yurt tokens revoke {row['id']}" in asked.text
        assert "gallery" in await visitor.page("/tokens")
        done = await visitor.submit(f"/tokens/{row['id']}/revoke", confirmed="1")
        assert "The token was revoked." in await visitor.page(done.headers["location"])
        assert "There is no token" in await visitor.page("/tokens")
        assert "revoked" in await visitor.page("/tokens", ended="true")
        for path in ("/tokens/999/revoke", f"/tokens/{2**63 - 1}/revoke", "/tokens/x/revoke"):
            assert (await visitor.submit(path)).status_code == 404, path


async def test_a_token_that_cannot_be_made_is_refused_beside_what_was_typed(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane, visiting(plane) as visitor:
        for fields, said in (
            ({**GOOD, "scopes": "everything"}, "Scopes.0: has to be upload:PIPELINE"),
            ({**GOOD, "scopes": " "}, "Scopes"),
            ({**GOOD, "name": ""}, "Name"),
            ({**GOOD, "expires": "soon"}, "Expires"),
        ):
            response = await visitor.submit("/tokens", **fields)
            assert response.status_code == 422, fields
            assert said in response.text, fields
            assert f'value="{fields["scopes"]}"' in response.text
        assert await plane.sql("select from app_tokens") == []


async def test_a_viewer_sees_tokens_and_makes_none(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn, loops=False, yurt_viewer_token=VIEWER) as plane,
        visiting(plane) as visitor,
        visiting(plane, VIEWER) as viewer,
    ):
        await visitor.submit("/tokens", **GOOD)
        text = await viewer.page("/tokens")
        assert "gallery" in text
        assert "<form method" not in text.partition("<main")[2]
        refused = await viewer.http.post("/tokens", data=GOOD, headers=viewer.from_here())
        assert refused.status_code == 403
        # An administrator's browser that another page sends here is refused too.
        csrf = await visitor.csrf()
        foreign = await visitor.http.post(
            "/tokens", data={"csrf": csrf, **GOOD}, headers={"origin": "http://evil.test"}
        )
        without = await visitor.http.post("/tokens", data=GOOD, headers=visitor.from_here())
        assert (foreign.status_code, without.status_code) == (403, 403)
        [row] = await plane.sql("select count(*) from app_tokens")
        assert row["count"] == 1
