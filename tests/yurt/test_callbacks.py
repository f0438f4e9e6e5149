"""Callbacks that an app verifies: held to the library of Standard Webhooks, and to what a control plane sends."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.infra.local.running import RunningBucket as LocalStore
from tests.polling import until
from tests.webhook.buckets import BucketPair
from tests.webhook.plane import control_plane, event
from tests.webhook.publishing import publish
from tests.webhook.settlements import failed
from yurt import Callback, InvalidCallback, OutputInfo, YurtError, verify_callback

DATA = {
    "pipeline": "photos", "bucket": "photos-in", "key": "ü.jpg", "sequence": 7, "etag": "e", "verdict": "ok",
    "reason": None, "message": None, "of_a_newer_version": 1,
    "outputs": [{"name": "a.webp", "url": "https://x.example", "etag": "f", "size": 3, "content_type": "image/webp"}],
}  # fmt: skip
BODY = json.dumps({"type": "object.done", "timestamp": "2026-01-01T10:30:02Z", "data": DATA}, ensure_ascii=False)


def new_secret(size: int = 32) -> str:
    return "whsec_" + base64.b64encode(os.urandom(size)).decode()


def signed(secret: str, body: str = BODY, at: datetime | None = None) -> dict[str, str]:
    """Headers as the library makes them."""
    at = at or datetime.now(UTC)
    return {
        "Webhook-Id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "WEBHOOK-SIGNATURE": Webhook(secret).sign("msg_1", at, body),
    }


def test_what_the_library_signs_is_read() -> None:
    secret = new_secret()
    callback = verify_callback(signed(secret), BODY.encode(), secret)
    assert callback == Callback(
        id="msg_1", type="object.done", timestamp=datetime(2026, 1, 1, 10, 30, 2, tzinfo=UTC), pipeline="photos",
        bucket="photos-in", key="ü.jpg", sequence=7, etag="e", verdict="ok", reason=None, message=None,
        outputs=(OutputInfo("a.webp", "https://x.example", "f", 3, "image/webp"),),
    )  # fmt: skip
    assert "x.example" not in repr(callback)


def test_secrets_are_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, other = new_secret(24), new_secret(64), new_secret()
    of_both = signed(old)
    of_both["WEBHOOK-SIGNATURE"] = f"v1a,x {of_both['WEBHOOK-SIGNATURE']} {signed(new)['WEBHOOK-SIGNATURE']} v1,?"
    for secrets in (old, new, [other, new], f"{other}, {old},"):
        assert verify_callback(of_both, BODY.encode(), secrets).key == "ü.jpg"
    with pytest.raises(InvalidCallback, match="none of the secrets"):
        verify_callback(of_both, BODY.encode(), other)
    monkeypatch.setenv("YURT_CALLBACK_SECRETS", f"{other},{new}")
    assert verify_callback(of_both, BODY.encode()).key == "ü.jpg"


CHANGES: dict[str, Any] = {
    "body": lambda headers, body: (headers, body.replace(b"photos-in", b"photos-on")),
    "id": lambda headers, body: ({**headers, "Webhook-Id": "msg_2"}, body),
    "time": lambda headers, body: ({**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body),
    "no time": lambda headers, body: ({**headers, "webhook-timestamp": "1.5e9"}, body),
    "no signature": lambda headers, body: ({**headers, "WEBHOOK-SIGNATURE": ""}, body),
    "version": lambda headers, body: ({**headers, "WEBHOOK-SIGNATURE": "v2" + headers["WEBHOOK-SIGNATURE"][2:]}, body),
    "empty": lambda headers, body: ({**headers, "WEBHOOK-SIGNATURE": "v1,"}, body),
    "no base64": lambda headers, body: ({**headers, "WEBHOOK-SIGNATURE": "v1,ü"}, body),
    "unsigned": lambda headers, body: ({}, body),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_refused_as_by_the_library(change: str) -> None:
    secret = new_secret()
    headers, body = CHANGES[change](signed(secret), BODY.encode())
    with pytest.raises(InvalidCallback) as refused:
        verify_callback(headers, body, secret)
    assert secret not in str(refused.value)
    with pytest.raises((WebhookVerificationError, ValueError)):
        Webhook(secret).verify(body, headers)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_callbacks_of_another_time_are_refused(minutes: int) -> None:
    secret = new_secret()
    with pytest.raises(InvalidCallback, match="not of this time"):
        verify_callback(signed(secret, at=datetime.now(UTC) + timedelta(minutes=minutes)), BODY.encode(), secret)
    near = signed(secret, at=datetime.now(UTC) + timedelta(minutes=minutes * 2 / 3))
    assert verify_callback(near, BODY.encode(), secret).id == "msg_1"


@pytest.mark.parametrize("body", ["no json", "[]", "{}", BODY.replace("object.done", "object.born"), "[" * 100_000])
def test_what_is_signed_and_cannot_be_understood(body: str) -> None:
    secret = new_secret()
    with pytest.raises(InvalidCallback, match="cannot be understood"):
        verify_callback(signed(secret, body), body.encode(), secret)


def test_a_long_body_is_refused_before_it_is_hashed() -> None:
    secret, body = new_secret(), "x" * ((1 << 20) + 1)
    with pytest.raises(InvalidCallback, match="longer than any"):
        verify_callback(signed(secret, body), body.encode(), secret)


@pytest.mark.parametrize("wrong", ["", "hunter2hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_???", [], ["", " "]])
def test_a_secret_that_is_none_is_not_shown(wrong: str | list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YURT_CALLBACK_SECRETS", raising=False)
    with pytest.raises(YurtError, match="for callbacks") as refused:
        verify_callback(signed(new_secret()), BODY.encode(), wrong)
    assert not isinstance(refused.value, InvalidCallback)
    assert "hunter2" not in str(refused.value)


@contextlib.contextmanager
def receiving() -> Iterator[tuple[str, dict[str, tuple[dict[str, str], bytes]]]]:
    """An app's server that keeps what it is sent, by its id: what is told again is told once."""
    received: dict[str, tuple[dict[str, str], bytes]] = {}

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received[self.headers["webhook-id"]] = dict(self.headers.items()), body
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", received
    finally:
        server.shutdown()
        server.server_close()


async def test_what_a_control_plane_sends_is_verified(postgres_dsn: str, store: LocalStore) -> None:
    buckets, secret = BucketPair.made(store), new_secret()
    with receiving() as (url, received):
        config = buckets.configured(conditions="quoted", callback={"url": url, "allow_private": True})
        secrets = f"{new_secret()},photos:{secret}"
        async with control_plane(postgres_dsn, config, store=store.endpoint, yurt_callback_secrets=secrets) as plane:

            async def has_begun() -> bool:
                return bool((await plane.admin("GET", "/v1/callbacks")).json()["counts"])

            await until(has_begun)
            worker = await plane.worker()
            await publish(plane, buckets, worker, "a é.jpg")
            await until(lambda: len(received) == 1)
            await plane.notify(event("b.jpg", bucket=buckets.inputs))
            why = {"reason": "unreadable", "message": "No photo."}
            await worker.ask(most=0, settle=[failed(await worker.lease(), retry=False, **why)])
            await until(lambda: len(received) == 2)
    refused, parked = (verify_callback(headers, body, secret) for headers, body in received.values())
    assert (refused.type, refused.key, refused.verdict, refused.etag) == ("object.refused", "a é.jpg", "refused", "e")
    assert refused.outputs[0].size == 7
    assert (parked.type, parked.reason, parked.message) == ("object.parked", "unreadable", "No photo.")
    assert parked.outputs == ()
    assert parked.sequence > refused.sequence
    assert parked.id.startswith("msg_")
