"""Issuing, listing and revoking tokens of apps over HTTP."""

from __future__ import annotations

import hashlib
import re

import pytest

from tests.webhook.plane import RunningPlane, control_plane

ORDER = {"name": "photo-app", "scopes": ["upload:photos"]}


async def create(plane: RunningPlane, **more: object) -> dict[str, object]:
    response = await plane.admin("POST", "/v1/tokens", json={**ORDER, **more})
    assert response.status_code == 201, response.text
    return dict(response.json())


async def test_a_token_is_shown_once_and_kept_as_its_hash(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        made = await create(plane)
        token = str(made.pop("token"))
        assert re.fullmatch(r"yurt_app_[0-9A-Za-z]{49}", token)
        [row] = await plane.sql("select token_hash, app_tokens::text as everything from app_tokens")
        assert row["token_hash"] == hashlib.sha256(token.encode()).digest()
        assert token not in row["everything"]
        listing = await plane.admin("GET", "/v1/tokens")
        assert listing.json() == {"tokens": [made], "next": None}
        assert token not in listing.text
        assert made["hint"] == token[:13]
        assert (made["calls_per_second"], made["burst_calls"], made["used_at"]) == (50, 100, None)


async def test_a_list_has_pages_and_leaves_ended_ones_out(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        numbers = [(await create(plane, valid_seconds=None))["id"] for _ in range(5)]

        async def listed(query: str) -> tuple[list[int], int | None]:
            page = (await plane.admin("GET", f"/v1/tokens?{query}")).json()
            return [token["id"] for token in page["tokens"]], page["next"]

        assert await listed("limit=3") == (numbers[:1:-1], numbers[2])
        assert await listed(f"limit=3&before={numbers[2]}") == (numbers[1::-1], None)
        revoked = await plane.admin("DELETE", f"/v1/tokens/{numbers[4]}")
        assert revoked.json()["revoked_at"]
        assert (await plane.admin("DELETE", f"/v1/tokens/{numbers[4]}")).json() == revoked.json()
        await plane.sql("update app_tokens set expires_at = now() where id = $1", numbers[3])
        assert await listed("") == (numbers[2::-1], None)
        assert await listed("ended=true") == (numbers[::-1], None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": []},
        {"scopes": ["photos"]},
        {"scopes": ["destroy:photos"]},
        {"scopes": ["upload:"]},
        {"scopes": ["upload:photos "]},
        {"scopes": ["upload:Photos"]},
        {"scopes": ["upload:photos"] * 101},
        {"name": ""},
        {"name": "a\x00b"},
        {"calls_per_second": 0},
        {"burst_calls": 0},
        {"valid_seconds": 0},
        {"valid_seconds": 1e12},
        {"admin": True},
    ],
)
async def test_a_wrong_order_is_refused(postgres_dsn: str, wrong: dict[str, object]) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        response = await plane.admin("POST", "/v1/tokens", json={**ORDER, **wrong})
        assert (response.status_code, response.json()["error"]) == (422, "malformed")


async def test_tokens_are_for_administrators(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        app = {"authorization": f"Bearer {(await create(plane))['token']}"}
        assert (await plane.http.post("/v1/tokens", json=ORDER, headers=app)).status_code == 401
        assert (await plane.http.get("/v1/tokens", headers=app)).status_code == 401
        assert (await plane.http.delete("/v1/tokens/1", headers=app)).status_code == 401
        for number in ("0", "99", "x", "9" * 30):
            response = await plane.admin("DELETE", f"/v1/tokens/{number}")
            assert (response.status_code, response.json()["error"]) == (404, "unknown-token")
