"""Requests that a foreign web page makes a browser send to a control plane on loopback."""

from __future__ import annotations

import pytest

from tests.webhook.plane import ADMIN, configured, control_plane, event

OPEN = ("/healthz", "/readyz", "/metrics", "/openapi.json")
PUBLIC = {"public_url": "https://yurt.example.com/base"}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "[::2]:80", ""]
)
async def test_a_name_that_was_made_to_lead_to_loopback_is_told_nothing(postgres_dsn: str, host: str) -> None:
    async with control_plane(postgres_dsn, configured(server=PUBLIC), loops=False) as plane:
        for path in OPEN:
            said = await plane.http.get(path, headers={"host": host})
            assert (said.status_code, said.json()["error"]) == (403, "foreign-host")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9", "127.0.0.1:1", "127.9.9.9", "[::1]:8080", "app.localhost", "Yurt.Example.com."]
)
async def test_its_own_names_lead_to_it(postgres_dsn: str, host: str) -> None:
    async with control_plane(postgres_dsn, configured(server=PUBLIC), loops=False) as plane:
        for path in OPEN:
            for origin in (f"http://{host}", "https://yurt.example.com"):
                assert (await plane.http.get(path, headers={"host": host, "origin": origin})).status_code == 200
            for origin in ("https://evil.example", "null"):
                said = await plane.http.get(path, headers={"host": host, "origin": origin})
                assert (said.status_code, said.json()["error"]) == (403, "foreign-origin")


async def test_a_form_of_a_foreign_page_is_no_notification_where_no_secret_is_asked_for(postgres_dsn: str) -> None:
    foreign = {"origin": "https://evil.example", "content-type": "text/plain"}
    async with control_plane(postgres_dsn, configured(server={"open_webhook": True})) as plane:
        assert (await plane.post_events(event("a.jpg"), headers=foreign)).status_code == 403
        assert (await plane.post_events(event("b.jpg"), headers={})).status_code == 200
        assert set(await plane.objects()) == {"b.jpg"}


async def test_a_credential_is_enough_by_any_name(postgres_dsn: str) -> None:
    """A tunnel's name that the configuration does not know: a browser adds no credential of its own."""
    tunnel = {"host": "random.tunnel.example"}
    async with control_plane(postgres_dsn) as plane:
        assert (await plane.http.get("/v1/notifications/tigris", headers=tunnel)).status_code == 200
        said = await plane.http.get("/v1/status", headers=tunnel | {"authorization": f"Bearer {ADMIN}"})
        assert said.status_code == 200


async def test_elsewhere_than_on_loopback_any_name_leads_to_it(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, configured(server={"listen": "0.0.0.0:8080"}), loops=False) as plane:
        assert (await plane.http.get("/metrics", headers={"host": "yurt.svc.cluster.local"})).status_code == 200
