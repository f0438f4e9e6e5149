"""Credentials over real HTTP: secrets of stores in header and URL, and workers' tokens."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import textwrap
import time
from base64 import b64encode

import pytest

from tests.polling import until
from tests.webhook.long_polls import polling
from tests.webhook.plane import WEBHOOK, RunningPlane, Worker, configured, control_plane, event
from tests.webhook.settlements import done
from webhook.api import auth

# ── secrets in the header ─────────────────────────────────────────────────────────────────────────────────────────────


def basic(credential: str) -> str:
    return f"Basic {b64encode(credential.encode()).decode()}"


async def posted(plane: RunningPlane, authorization: bytes | None) -> bytes:
    """Post one event with any Authorization header, also one that no HTTP client would send."""
    body = json.dumps({"events": [event("a.jpg")]}).encode()
    head = b"POST /v1/notifications/tigris HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    header = b"" if authorization is None else b"authorization: %s\r\n" % authorization
    return await plane.exchange(head + header + b"content-length: %d\r\n\r\n" % len(body) + body)


WRONG = [
    None,
    b"",
    b"Bearer",
    b"Bearer ",
    b"Bearer wrong",
    b"Bearer " + WEBHOOK.encode() + b"x",
    b"Bearer " + WEBHOOK.encode()[:-1],
    b"Bearer " + WEBHOOK.upper().encode(),
    WEBHOOK.encode(),
    b"Token " + WEBHOOK.encode(),
    b"Basic " + WEBHOOK.encode(),
    b"Basic !!!not-base64!!!",
    b"Basic ====",
    basic("tigris:").encode(),
    basic("tigris:wrong").encode(),
    basic(":" + WEBHOOK).encode(),
    "Bearer sécret".encode("latin-1"),
    b"Bearer \xff\xfe\x80",
    b"Bearer " + b"a" * 32_000,
]


SECRETS = f"{WEBHOOK}, tigris:pa:ss , sécret"


async def test_wrong_missing_and_malformed_credentials_are_refused(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, yurt_webhook_secrets=SECRETS) as plane:
        for authorization in WRONG:
            response = await posted(plane, authorization)
            assert response.startswith(b"HTTP/1.1 401 "), authorization
            assert b"\r\nwww-authenticate: Bearer " in response
            assert b'"error":"unauthorized"' in response
            assert WEBHOOK.encode() not in response
        assert not await plane.objects()
        assert (
            f'yurt_notifications_refused_total{{error="unauthorized",source="tigris"}} {len(WRONG)}.0'
            in (await plane.http.get("/metrics")).text
        )


async def test_every_secret_is_good_as_bearer_or_as_basic(postgres_dsn: str) -> None:
    right = [
        f"Bearer {WEBHOOK}",
        f"bearer {WEBHOOK}",
        f"BEARER   {WEBHOOK}  ",
        "Bearer tigris:pa:ss",
        basic("tigris:pa:ss"),
        basic("tigris:pa:ss").replace("Basic", "basic"),
        "Bearer sécret",
    ]
    async with control_plane(postgres_dsn, yurt_webhook_secrets=SECRETS) as plane:
        for authorization in right:
            assert (await posted(plane, authorization.encode())).startswith(b"HTTP/1.1 200 "), authorization


async def test_without_secrets_nothing_is_taken_unless_the_webhook_is_open(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, yurt_webhook_secrets=" , ") as plane:
        for authorization in (None, b"", b"Bearer ", b"Bearer ,", b"Basic Og=="):
            assert (await posted(plane, authorization)).startswith(b"HTTP/1.1 401 "), authorization
    async with control_plane(postgres_dsn, configured(server={"open_webhook": True})) as plane:
        assert (await plane.post_events(event("a.jpg"), headers={})).status_code == 200


def test_secrets_are_compared_in_constant_time_and_to_the_end() -> None:
    """Structural: the digest of each secret is compared by ``hmac.compare_digest``, and none ends the comparison."""
    allow = ast.parse(textwrap.dedent(inspect.getsource(auth.Credentials.allow)))
    calls = {ast.unparse(node.func) for node in ast.walk(allow) if isinstance(node, ast.Call)}
    assert "hmac.compare_digest" in calls
    assert not [node for node in ast.walk(allow) if isinstance(node, ast.Compare | ast.Break | ast.BoolOp)]
    assert len([node for node in ast.walk(allow) if isinstance(node, ast.Return)]) == 1


async def test_the_credential_is_looked_at_before_the_body(postgres_dsn: str) -> None:
    head = b"POST /v1/notifications/tigris HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1000\r\n\r\n"
    async with control_plane(postgres_dsn) as plane:
        assert (await plane.exchange(head)).startswith(b"HTTP/1.1 401 ")  # and nothing of the body was sent


# ── secrets in the URL ────────────────────────────────────────────────────────────────────────────────────────────────

EMPTY = {"s3": b'{"Records": []}', "tigris": b'{"events": []}'}


async def test_a_store_that_cannot_send_headers_may_show_its_secret_in_the_url(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, yurt_webhook_secrets=SECRETS) as plane:
        for token in (WEBHOOK, "tigris:pa:ss", "sécret"):
            response = await plane.http.post("/v1/notifications/s3", params={"token": token}, content=EMPTY["s3"])
            assert response.status_code == 200, token
        for token in ("", WEBHOOK + "x", WEBHOOK.upper(), "é", "Bearer " + WEBHOOK, "x" * 30_000):
            response = await plane.http.post("/v1/notifications/s3", params={"token": token}, content=EMPTY["s3"])
            assert (response.status_code, response.json()["error"]) == (401, "unauthorized"), token
            assert WEBHOOK not in response.text
        for query in ("", "?token", "?Token=" + WEBHOOK, "?token=%ff%00", "?token=%ED%A0%80", "?" + WEBHOOK):
            head = f"POST /v1/notifications/s3{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            assert (await plane.exchange(head.encode())).startswith(b"HTTP/1.1 401 "), query


async def test_either_of_header_and_url_is_enough(postgres_dsn: str) -> None:
    """Pub/Sub sends a token of Google's in the header, which is none of ours."""
    async with control_plane(postgres_dsn) as plane:
        response = await plane.http.post(
            "/v1/notifications/s3",
            params={"token": WEBHOOK},
            content=EMPTY["s3"],
            headers={"authorization": "Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln"},
        )
        assert response.status_code == 200


async def test_tigris_can_send_headers_and_has_to(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        response = await plane.http.post("/v1/notifications/tigris", params={"token": WEBHOOK}, content=EMPTY["tigris"])
        assert response.status_code == 401


async def test_a_secret_in_the_url_is_never_logged(
    postgres_dsn: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0, "uvicorn")
    caplog.set_level(0, "asyncio")
    async with control_plane(postgres_dsn) as plane:
        for body in (EMPTY["s3"], b"{", json.dumps({"Records": [1]}).encode()):
            for token in (WEBHOOK, WEBHOOK[::-1]):
                head = f"POST /v1/notifications/s3?token={token} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                response = await plane.exchange(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
                assert token.encode() not in response
        await plane.exchange(f"POST /v1/notifications/s3?token={WEBHOOK} HTTP/9\r\nx\r\n\r\n".encode())
        assert WEBHOOK not in (await plane.http.get("/metrics")).text
        kept = await plane.sql("select reason, raw from quarantine")
        assert {row["raw"] for row in kept} == {b"{", b"1"}
        assert WEBHOOK not in str(kept)
    written = capfd.readouterr()
    seen = written.out + written.err + "".join(record.getMessage() for record in caplog.records)
    assert WEBHOOK not in seen
    assert WEBHOOK[::-1] not in seen


# ── workers' tokens ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_revoked_token_is_refused_within_a_second_and_settles_nothing_at_all(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        await plane.notify(event("a.jpg"), event("b.jpg"))
        one, two = (await worker.ask(most=2)).leases  # from here on its token is remembered for a moment
        fleet = plane.services.fleet
        [machine] = await fleet.machines()
        assert await fleet.slaying(machine.id, "a test", machine.state)
        response = await worker.post(f"leases/{one.id}/complete", done(one))
        assert response.status_code in (401, 409)
        assert (await worker.post(f"leases/{two.id}/heartbeat", {"token": two.token})).status_code in (401, 409)
        assert (await worker.outputs(two, "a.webp")).status_code in (401, 409)
        assert {row["state"] for row in (await plane.objects()).values()} == {"pending"}

        async def refused() -> bool:
            response = await worker.post("leases", {})
            assert response.status_code == 401 or not response.json()["leases"]
            return response.status_code == 401

        started = time.monotonic()
        await until(refused, seconds=10)
        assert time.monotonic() - started < 5  # one second, and a busy machine


async def test_a_revoked_worker_that_waits_for_work_is_told_when_the_wait_ends(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        worker = await plane.worker()
        poll = asyncio.create_task(worker.post("leases", {"wait": 1.5}))
        await until(lambda: polling(plane))
        await plane.sql("update workers set state = 'slaying', token_hash = null")
        assert (await poll).status_code == 401


async def test_every_call_needs_a_workers_token_and_looks_at_it_first(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        once = await plane.invite()
        strangers = [Worker(plane.http, 0, token) for token in ("x", once, "admin-secret", "hook-secret", "x" * 30_000)]
        for path in ("leases", "leases/1/outputs", "leases/1/heartbeat", "leases/1/complete", "leases/1/fail"):
            response = await plane.http.post(f"/v1/{path}", content=b"{")
            assert (response.status_code, response.json()["error"]) == (401, "unauthorized"), path
            for worker in strangers:
                response = await worker.post(path, b"{")
                assert response.status_code == 401, path
                assert worker.token not in response.text
