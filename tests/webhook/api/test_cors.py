"""Pages of other origins: which endpoints answer their browsers, and what that allows."""

from __future__ import annotations

import httpx

from tests.webhook.plane import RunningPlane, control_plane

ASKED = {"origin": "https://app.example.com", "access-control-request-method": "POST"}


async def asked(plane: RunningPlane, path: str) -> httpx.Response:
    return await plane.http.options(path, headers=ASKED)


async def test_endpoints_for_apps_and_no_others_may_be_called(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        document = (await plane.http.get("/openapi.json")).json()
        for path, methods in document["paths"].items():
            schemes = {scheme for method in methods.values() for choice in method["security"] for scheme in choice}
            for_apps = bool(schemes & {"app", "ticket"})
            answer = await asked(plane, path.replace("{id}", "1"))
            assert (answer.status_code == 204) == for_apps, path
            assert ("access-control-allow-origin" in answer.headers) == for_apps, path


async def test_a_browsers_own_credentials_are_not_allowed(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        answer = await asked(plane, "/v1/uploads")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        refused = await plane.http.post("/v1/uploads", json={}, headers=ASKED)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")
