"""Answers of services that are fetched later: over HTTP, with a real store, and a machine that the test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.infra.local.running import RunningBucket
from tests.polling import until
from tests.webhook.proxy.serving import Serving, services_at, with_services
from tests.webhook.proxy.standin import ServerStandIn, standing_in
from webhook.answers import later_answers, spooled_answer

LATER = {"prefer": "respond-async, wait=10"}


@asynccontextmanager
async def later(postgres_dsn: str, store: RunningBucket, **more: Any) -> AsyncIterator[tuple[Serving, ServerStandIn]]:
    place = f"s3://{store.new_bucket(store.s3())}/answers/"
    config = with_services(server={"answers": place}, echo={"concurrency": 8}, **more)
    async with standing_in() as server, services_at(postgres_dsn, config, store=store.endpoint) as s:
        yield s, server


async def begun(s: Serving, path: str, method: str = "POST", **more: Any) -> str:
    answer = await s.ask(method, path, headers=LATER, **more)
    assert answer.status_code == 202, answer.text
    assert answer.headers["preference-applied"] == "respond-async"
    return str(answer.headers["location"])


async def ended(s: Serving, place: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        answer: dict[str, Any] = (await s.ask("GET", f"{place}?wait=5")).json()
        return None if answer["state"] == "pending" else answer

    known: dict[str, Any] | None = await until(look)
    assert known is not None
    return known


async def test_an_answer_that_was_asked_for_later_waits_in_the_bucket(
    postgres_dsn: str, store: RunningBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with later(postgres_dsn, store) as (s, server):
        place = await begun(s, "/services/echo/a?b=1", content=b"hello")
        assert (await s.ask("GET", place)).json()["state"] == "pending", "there is no machine yet"
        token = (await s.plane.admin("POST", "/v1/tokens", json={"name": "a", "scopes": ["service:other"]})).json()
        assert (await s.ask("GET", place, token["token"])).status_code == 403
        await s.serve(server)
        answer = await ended(s, place)
        assert (answer["state"], answer["status"], answer["error"]) == ("done", 200, None)
        assert ["content-type", "application/json"] in answer["headers"]
        async with httpx.AsyncClient() as http:
            body = await http.get(answer["body"]["url"])
            assert body.json()["body"] == "hello"
            assert body.headers["content-type"] == "application/json"
            assert len(body.content) == answer["bytes"]
            assert b"prefer" not in server.requests[-1][2], "it was applied here"
            assert (await s.ask("DELETE", place)).status_code == 204
            assert (await s.ask("GET", place)).status_code == 404
            assert (await http.get(answer["body"]["url"])).status_code == 404

        monkeypatch.setattr(spooled_answer, "MAX_ANSWER_BYTES", 10)
        answer = await ended(s, await begun(s, "/services/echo/", "GET"))
        assert (answer["state"], answer["error"]["error"]) == ("failed", "answer-too-large")

        asked = await s.ask("POST", "/services/echo/", headers=LATER, content=bytes((1 << 20) + 1))
        assert asked.status_code == 413


async def test_a_deleted_answer_cancels_its_request(
    postgres_dsn: str, store: RunningBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(later_answers, "LOOK_SECONDS", 0.05)
    async with later(postgres_dsn, store) as (s, server):
        here, elsewhere = await begun(s, "/services/echo/wait", "GET"), await begun(s, "/services/echo/wait", "GET")
        await s.serve(server)
        await until(lambda: server.under_way == 2)
        await s.ask("DELETE", here)
        await until(lambda: server.cancelled == 1)
        await s.plane.services.answers.ledger.forget(elsewhere.rpartition("/")[2])  # as another replica does
        await until(lambda: server.cancelled == 2)
        await until(lambda: s.load() == (0, 0))


async def test_an_answer_that_its_replica_cannot_write_any_more_has_failed(
    postgres_dsn: str, store: RunningBucket
) -> None:
    async with later(postgres_dsn, store) as (s, _), s.replica(s.plane.services.config) as other:
        killed, stopped = await begun(other, "/services/echo/", "GET"), await begun(other, "/services/echo/", "GET")
        assert (await s.ask("GET", killed)).json()["state"] == "pending"
        await other.plane.services.proxy.ledger.forget_replica(other.plane.services.proxy.replica)
        assert (await s.ask("GET", killed)).json()["error"]["error"] == "replica-lost"
        await other.plane.services.answers.aclose()
        assert (await s.ask("GET", stopped)).json()["error"]["error"] == "replica-stopped"


async def test_answers_that_have_expired_are_removed(
    postgres_dsn: str, store: RunningBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(later_answers, "EXPIRY_SECONDS", 0.05)
    async with later(postgres_dsn, store) as (s, server):
        place = await begun(s, "/services/echo/", "GET")
        await s.serve(server)
        url = (await ended(s, place))["body"]["url"]
        async with s.plane.services.ledger.database.connection() as connection:
            await connection.execute("update service_answers set expires_at = yurt_now()")
        async with httpx.AsyncClient() as http:

            async def is_gone() -> bool:
                return (await http.get(url)).status_code == 404

            await until(is_gone)
        assert (await s.ask("GET", place)).status_code == 404
