"""Sign-in links over HTTP: for administrators, for a while, and only their hashes are kept."""

from __future__ import annotations

import pytest

from tests.webhook.plane import control_plane
from webhook.ledger.sign_in_links import SignInLinks


async def test_a_link_is_made_for_administrators_alone(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        assert (await plane.http.post("/v1/sign-in-links")).status_code == 401
        response = await plane.admin("POST", "/v1/sign-in-links", json={"valid_seconds": 60})
        assert response.status_code == 201
        code = response.json()["path"].removeprefix("/enter#")
        [row] = await plane.sql("select code_hash, expires_at - yurt_now() as left from sign_in_links")
        assert code.encode() not in row["code_hash"]
        assert 50 < row["left"].total_seconds() <= 60
        links = SignInLinks(plane.services.ledger)
        assert [await links.use(code), await links.use(code), await links.use("other")] == [True, False, False]


@pytest.mark.parametrize("body", [{"valid_seconds": 0}, {"valid_seconds": 100_000}, {"role": "root"}, []])
async def test_a_wrong_wish_is_refused(postgres_dsn: str, body: object) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        assert (await plane.admin("POST", "/v1/sign-in-links", json=body)).status_code == 422


async def test_links_that_have_expired_are_forgotten(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        await plane.admin("POST", "/v1/sign-in-links")
        await plane.sql("update sign_in_links set expires_at = yurt_now() - interval '1 second'")
        await plane.admin("POST", "/v1/sign-in-links")
        [row] = await plane.sql("select count(*) as links from sign_in_links")
        assert row["links"] == 1
