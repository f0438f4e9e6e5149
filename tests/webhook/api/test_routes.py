"""Requests that no endpoint takes, and faults: each becomes a problem as JSON."""

from __future__ import annotations

import pytest

from tests.webhook.plane import ADMIN, control_plane
from webhook.api.http import HELLO_BODY_BYTES


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
        with monkeypatch.context() as patched:
            patched.setattr(plane.services.ledger, "fetch", None)
            response = await plane.admin("GET", "/v1/status")
        assert response.status_code == 500
        assert response.json()["error"] == "internal"
        assert "NoneType" not in response.text
        assert ADMIN not in response.text


async def test_every_endpoint_looks_at_the_credential_before_it_reads_the_body(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        tried = 0
        for path, operations in plane.plane.health.document()["paths"].items():
            for method, operation in operations.items():
                if not operation.get("security"):
                    continue
                tried += 1
                at = path.replace("{id}", "1").replace("{source}", "tigris")
                head = f"{method.upper()} {at} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                for shown in ("", f"authorization: Bearer {'x' * 43}\r\n"):
                    said = await plane.exchange(f"{head}{shown}content-length: 4000000\r\n\r\n{{".encode())
                    assert said.startswith(b"HTTP/1.1 401 "), (method, path, said)
        assert tried > 15


async def test_calling_home_takes_few_bytes(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        once = await plane.invite()
        said = await plane.hello(once, "a" * HELLO_BODY_BYTES)
        assert (said.status_code, said.json()["error"]) == (413, "too-large")
        assert (await plane.hello(once)).status_code == 200
