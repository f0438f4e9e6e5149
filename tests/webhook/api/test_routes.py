"""Requests that no endpoint takes, and faults: each becomes a problem as JSON."""

from __future__ import annotations

import pytest

from tests.webhook.plane import ADMIN, control_plane


async def test_a_path_or_method_without_an_endpoint_is_a_problem(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        unknown = await plane.http.get("/v1/nothing")
        assert (unknown.status_code, unknown.json()["error"]) == (404, "not-found")
        other = await plane.http.put("/v1/leases")
        assert (other.status_code, other.json()["error"]) == (405, "method-not-allowed")
        assert other.headers["allow"] == "POST"


async def test_a_fault_of_ours_is_a_problem_too_and_shows_nothing(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        monkeypatch.setattr(plane.services.ledger, "fetch", None)
        response = await plane.admin("GET", "/v1/status")
        assert response.status_code == 500
        assert response.json()["error"] == "internal"
        assert "NoneType" not in response.text
        assert ADMIN not in response.text
