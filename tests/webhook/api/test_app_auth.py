"""Tokens of apps as credentials, over HTTP: scopes, rates, ends, last use."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from tests.polling import until
from tests.webhook.plane import ADMIN, RunningPlane, control_plane, serving
from webhook.api.app_auth import CACHED_SECONDS, AppAuth
from webhook.api.auth import Credentials
from webhook.api.http import HttpProblem
from webhook.ledger.app_tokens import PREFIX, AppTokens
from webhook.ledger.secret_texts import new_secret


async def issued(plane: RunningPlane, *scopes: str, **more: Any) -> str:
    """A new token with these scopes."""
    body = {"name": "a test", "scopes": list(scopes or ("read:photos",)), **more}
    response = await plane.admin("POST", "/v1/tokens", json=body)
    assert response.status_code == 201, response.text
    return str(response.json()["token"])


async def shown(plane: RunningPlane, token: str) -> httpx.Response:
    return await plane.http.get("/v1/token", headers={"authorization": f"Bearer {token}"})


def request_with(token: str) -> Request:
    header = (b"authorization", f"Bearer {token}".encode("latin-1", "replace"))
    return Request({"type": "http", "headers": [header]})


def auth_of(plane: RunningPlane) -> AppAuth:
    """Another replica's authentication over the same ledger."""
    return AppAuth(AppTokens(plane.services.ledger), Credentials([ADMIN]))


async def refusal(auth: AppAuth, token: str, scope: str) -> tuple[int, str]:
    """Status and code of the problem; 0 where the scope is allowed."""
    try:
        await auth.require(request_with(token), scope)
    except HttpProblem as problem:
        return problem.status, problem.error
    return 0, ""


async def test_a_token_is_good_for_its_scopes_alone(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        auth = auth_of(plane)
        token = await issued(plane, "upload:photos", "service:*")
        for scope in ("upload:photos", "service:sdxl", "service:other"):
            assert await refusal(auth, token, scope) == (0, ""), scope
        for scope in ("upload:papers", "read:photos", "call:sdxl", "upload:*", "wake:gpu"):
            assert await refusal(auth, token, scope) == (403, "scope-missing"), scope
        assert await refusal(auth, ADMIN, "call:anything") == (0, "")
        with pytest.raises(HttpProblem, match=r"read objects of the pipeline photos: .* NAME --scope read:photos$"):
            await auth.require(request_with(token), "read:photos")
        with pytest.raises(HttpProblem, match=r"wake the pool gpu: .* NAME --scope wake:gpu$"):
            await auth.require(request_with(token), "wake:gpu")


async def test_an_app_asks_what_its_token_allows(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        token = await issued(plane, "upload:photos", "read:photos", name="photo-app")
        assert (await shown(plane, token)).json() == {"name": "photo-app", "scopes": ["read:photos", "upload:photos"]}
        assert (await shown(plane, ADMIN)).json() == {"name": "administrator", "scopes": []}


async def test_what_is_no_token_is_refused(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        token = await issued(plane)
        worker = await plane.worker()
        altered = token[:-1] + ("0" if token[-1] != "0" else "1")
        for wrong in ("x", new_secret(PREFIX), altered, token[:-1], token + "0", token.lower(), worker.token, "\xe9"):
            header = {b"authorization": f"Bearer {wrong}".encode("latin-1")}
            assert (await plane.http.get("/v1/token", headers=header)).status_code == 401, wrong
        assert (await plane.http.get("/v1/token")).status_code == 401
        assert (await shown(plane, token)).status_code == 200
        assert (await plane.http.get("/v1/status", headers={"authorization": f"Bearer {token}"})).status_code == 401


async def test_a_token_that_expired_or_was_revoked_is_told_so(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        token = await issued(plane)
        [row] = await plane.sql("update app_tokens set expires_at = now() - interval '1 second' returning id")
        response = await shown(plane, token)
        assert (response.status_code, response.json()["error"]) == (401, "unauthorized")
        assert "has expired" in response.json()["message"]
        await plane.admin("DELETE", f"/v1/tokens/{row['id']}")
        assert "was revoked" in (await shown(plane, token)).json()["message"]


async def test_a_revoked_token_ends_on_other_replicas_within_the_cached_time(postgres_dsn: str) -> None:
    async with (
        control_plane(postgres_dsn, loops=False) as plane,
        serving(plane.dsn, plane.services.config, loops=False) as other,
    ):
        token = await issued(plane)
        assert (await shown(other, token)).status_code == 200
        [row] = await plane.sql("select id from app_tokens")
        await plane.admin("DELETE", f"/v1/tokens/{row['id']}")

        async def refused() -> bool:
            return (await shown(other, token)).status_code == 401

        await until(refused)
        assert CACHED_SECONDS <= 1


async def test_calls_over_the_rate_are_refused_and_the_next_second_is_free(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        token = await issued(plane, calls_per_second=0.001, burst_calls=3)
        other = await issued(plane)
        statuses = [(await shown(plane, token)).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        response = await shown(plane, token)
        assert response.json()["error"] == "too-many-requests"
        assert 900 <= int(response.headers["retry-after"]) <= 1000
        assert (await shown(plane, other)).status_code == 200


async def test_the_last_use_is_written_once_a_minute_at_most(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        token = await issued(plane)

        async def used_at() -> object:
            # A new authentication each time: none of its answers is cached.
            await asyncio.gather(*(auth_of(plane).caller(request_with(token)) for _ in range(4)))
            [row] = await plane.sql("select used_at from app_tokens")
            return row["used_at"]

        first = await used_at()
        assert first is not None
        assert await used_at() == first
        await plane.sql("update app_tokens set used_at = used_at - interval '61 seconds'")
        assert await used_at() > first  # type: ignore[operator]
