"""What each kind of source sends: probes, signatures, bodies as the stores write them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.webhook.plane import WEBHOOK, RunningPlane, configured, control_plane, event, pipeline
from tests.webhook.sources.b2_samples import SIGNATURE, b2_event, b2_test, signed
from tests.webhook.sources.gcs_samples import push
from tests.webhook.sources.s3_samples import RECORDED, aws, bridged, minio
from tests.webhook.sources.sns_service import TOPIC, sns_service
from webhook.sources.sns import MAX_MESSAGE_BYTES

HEAD = f"POST /v1/notifications/tigris HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {WEBHOOK}\r\n".encode()


# ── probes and sources ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_store_may_probe_and_an_unknown_source_is_404(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        for method in ("GET", "HEAD"):
            response = await plane.http.request(method, "/v1/notifications/tigris")
            assert (response.status_code, response.content) == (200, b"")
            assert (await plane.http.request(method, "/v1/notifications/nowhere")).status_code == 404
        response = await plane.http.post("/v1/notifications/nowhere", json={}, headers={"authorization": "Bearer x"})
        assert response.status_code == 404
        assert response.json() == {
            "error": "unknown-source",
            "message": "there is no source of that name; there are: b2, gcs, s3, tigris",
        }
        assert (await plane.http.delete("/v1/notifications/tigris")).json()["error"] == "method-not-allowed"
        assert (await plane.http.get("/v2")).json()["error"] == "not-found"


@pytest.mark.parametrize("name", ["s3", "gcs", "b2"])
async def test_every_source_answers_probes(postgres_dsn: str, name: str) -> None:
    """MinIO asks by HEAD before it sends anything, and takes anything but success for a dead target."""
    async with control_plane(postgres_dsn) as plane:
        for method in ("GET", "HEAD"):
            response = await plane.http.request(method, f"/v1/notifications/{name}")
            assert (response.status_code, response.content) == (200, b"")


# ── Amazon SNS ───────────────────────────────────────────────────────────────────────────────────────────────────────


def sns_headers(message: dict[str, Any]) -> dict[str, str]:
    """As SNS sends them."""
    return {
        "content-type": "text/plain; charset=UTF-8",
        "x-amz-sns-message-type": str(message["Type"]),
        "x-amz-sns-topic-arn": str(message["TopicArn"]),
    }


async def deliver(plane: RunningPlane, message: dict[str, Any], **more: str) -> httpx.Response:
    headers = {**sns_headers(message), **more}
    return await plane.http.post("/v1/notifications/s3", content=json.dumps(message), headers=headers)


def records(*keys: str) -> dict[str, Any]:
    listed = [aws(key=key) for key in keys]
    for record in listed:
        record["s3"]["bucket"]["name"] = "inbox"
    return {"Records": listed}


async def test_a_signed_message_of_a_listed_topic_needs_no_secret(postgres_dsn: str) -> None:
    async with sns_service() as sns, control_plane(postgres_dsn, trust=sns.trust()) as plane:
        confirmation = await deliver(plane, sns.confirmation())
        assert (confirmation.status_code, confirmation.json()["accepted"]) == (200, 0)
        assert any("Action=ConfirmSubscription" in call for call in sns.calls)
        tested = await deliver(plane, sns.notification({"Event": "s3:TestEvent"}))
        assert tested.status_code == 200
        message = sns.notification(records("a.jpg", "b+c.jpg"))
        assert (await deliver(plane, message)).json()["accepted"] == 2
        assert (await deliver(plane, message)).json()["duplicate"] == 2  # a replay does nothing
        assert set(await plane.objects()) == {"a.jpg", "b c.jpg"}
        ended = await deliver(plane, sns.confirmation("UnsubscribeConfirmation"))
        assert ended.status_code == 200
        assert await plane.unaccounted() == {"events": 0, "changes": 0}


async def test_nothing_takes_the_place_of_a_signature(postgres_dsn: str) -> None:
    """Neither a secret nor an open webhook: what is wrapped is believed for its signature alone."""
    bearer = {"authorization": f"Bearer {WEBHOOK}"}
    async with sns_service() as sns:
        for config in (None, configured(server={"open_webhook": True})):
            async with control_plane(postgres_dsn, config, trust=sns.trust()) as plane:
                forged = sns.notification(records("a.jpg"), Signature="AAAA")
                response = await deliver(plane, forged, **bearer)
                assert (response.status_code, response.json()["error"]) == (403, "bad-signature")
                other = sns.notification(records("a.jpg"), TopicArn=TOPIC + "-of-another-account")
                response = await deliver(plane, other, **bearer)
                assert (response.status_code, response.json()["error"]) == (403, "untrusted-topic")
                assert "server.sns_topics" in response.json()["message"]
                lie = {"x-amz-sns-topic-arn": TOPIC}
                response = await deliver(plane, other, **bearer, **lie)
                assert (response.status_code, response.json()["error"]) == (403, "untrusted-topic")
                assert not await plane.objects()
                metrics = (await plane.http.get("/metrics")).text
                refused = 'yurt_notifications_refused_total{error="%s",source="s3"} %d.0'
                assert refused % ("bad-signature", 1) in metrics
                assert refused % ("untrusted-topic", 2) in metrics


async def test_by_default_no_topic_is_trusted(postgres_dsn: str) -> None:
    async with sns_service() as sns, control_plane(postgres_dsn) as plane:
        for message in (sns.notification(records("a.jpg")), sns.confirmation()):
            response = await deliver(plane, message)
            assert (response.status_code, response.json()["error"]) == (403, "untrusted-topic")
        assert sns.calls == []


async def test_the_topic_is_looked_at_before_the_body(postgres_dsn: str) -> None:
    head = b"POST /v1/notifications/s3 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1000\r\n"
    async with control_plane(postgres_dsn) as plane:
        response = await plane.exchange(
            head + b"x-amz-sns-message-type: Notification\r\nx-amz-sns-topic-arn: x\r\n\r\n"
        )
        assert response.startswith(b"HTTP/1.1 403 ")  # and nothing of the body was sent


async def test_a_message_longer_than_sns_sends_is_refused(postgres_dsn: str) -> None:
    async with sns_service() as sns, control_plane(postgres_dsn, trust=sns.trust()) as plane:
        headers = sns_headers(sns.notification(""))
        response = await plane.http.post(
            "/v1/notifications/s3", content=b" " * (MAX_MESSAGE_BYTES + 1), headers=headers
        )
        assert response.status_code == 413


async def test_a_message_that_is_none_is_400(postgres_dsn: str) -> None:
    async with sns_service() as sns, control_plane(postgres_dsn, trust=sns.trust()) as plane:
        headers = sns_headers(sns.notification(""))
        for content in (b"", b"{}", json.dumps({**sns.notification(""), "Type": "Party"}).encode()):
            response = await plane.http.post("/v1/notifications/s3", content=content, headers=headers)
            assert (response.status_code, response.json()["error"]) == (400, "malformed")
        response = await deliver(plane, sns.notification("hello"))  # published by hand, and signed
        assert (response.status_code, response.json()["quarantined"]) == (200, 1)


async def test_while_sns_is_away_a_message_is_asked_for_again(postgres_dsn: str) -> None:
    async with sns_service() as sns, control_plane(postgres_dsn, trust=sns.trust()) as plane:
        message = sns.notification(records("a.jpg"), SigningCertURL=sns.serve(b"", head="503 Service Unavailable"))
        response = await deliver(plane, message)
        assert (response.status_code, response.json()["error"]) == (503, "sns-unavailable")
        assert int(response.headers["retry-after"]) >= 1


async def test_raw_delivery_is_not_signed_and_needs_a_secret(postgres_dsn: str) -> None:
    async with sns_service() as sns, control_plane(postgres_dsn, trust=sns.trust()) as plane:
        raw = {"x-amz-sns-message-type": "Notification", "x-amz-sns-topic-arn": TOPIC, "x-amz-sns-rawdelivery": "true"}
        body = json.dumps(records("a.jpg"))
        assert (await plane.http.post("/v1/notifications/s3", content=body, headers=raw)).status_code == 401
        response = await plane.http.post("/v1/notifications/s3", content=body, headers=raw, params={"token": WEBHOOK})
        assert response.json()["accepted"] == 1


# ── other stores ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_recorded_request_of_a_ceph_gateway_is_taken_and_its_redelivery_changes_nothing(
    postgres_dsn: str,
) -> None:
    pipelines = {name: pipeline(name, outputs=f"out-{name}") for name in ("rec-sync", "rec-sync-v", "rec-pers")}
    recordings = [json.loads(path.read_text(encoding="utf-8")) for path in RECORDED]
    requests = [request for one in recordings for request in one["requests"]]
    async with control_plane(postgres_dsn, configured(pipelines), loops=False) as plane:
        for request in requests:
            receipt = await replayed(plane, request)
            assert receipt["accepted"] + receipt["coalesced"] == 1, request["body"]
        rows = {(row["pipeline_id"], row["key"]) for row in await plane.sql("select * from objects")}
        assert {key for _, key in rows} == {one["key"] for one in recordings}
        for request in requests:
            receipt = await replayed(plane, request)
            assert receipt["quarantined"] == 0
        assert {(row["pipeline_id"], row["key"]) for row in await plane.sql("select * from objects")} == rows
        assert not await plane.sql("select from quarantine")
        assert await plane.unaccounted() == {"events": 0, "changes": 0}


async def replayed(plane: RunningPlane, request: dict[str, Any]) -> dict[str, int]:
    """Just as it was recorded, but for the address."""
    headers = {name: value for name, value in request["headers"] if name not in ("Host", "Content-Length")}
    response = await plane.http.request(
        request["method"],
        f"/v1/notifications/s3?token={WEBHOOK}",
        content=request["body"].encode(),
        headers=headers,
    )
    assert response.status_code == 200, response.text
    return {verdict: int(number) for verdict, number in response.json().items()}


async def test_a_push_of_google_and_an_event_of_eventbridge_are_taken(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        through = bridged()
        through["detail"]["bucket"]["name"] = "inbox"
        for name, body in (("gcs", push()), ("s3", through), ("s3", {"Records": [minio()]})):
            response = await plane.http.post(f"/v1/notifications/{name}", params={"token": WEBHOOK}, json=body)
            assert response.json()["accepted"] == 1, name
        assert set(await plane.objects()) == {"photos/a b+c.jpg", "example-key", "images/my photo.jpg"}


# ── Backblaze B2 ─────────────────────────────────────────────────────────────────────────────────────────────────────

NEXT = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0"


async def deliver_b2(plane: RunningPlane, body: bytes, headers: dict[str, str]) -> httpx.Response:
    return await plane.http.post("/v1/notifications/b2", content=body, headers=headers)


@pytest.mark.parametrize("secret", [WEBHOOK, NEXT])
async def test_a_body_that_a_secret_signed_needs_no_other_credential(postgres_dsn: str, secret: str) -> None:
    async with control_plane(postgres_dsn, yurt_webhook_secrets=f"{WEBHOOK},{NEXT}") as plane:
        body = json.dumps({"events": [b2_event(), b2_event("b2:HideMarkerCreated:Hide", objectName="b")]}).encode()
        good = signed(body, secret)
        assert (await deliver_b2(plane, body, {SIGNATURE: good})).json()["accepted"] == 2
        both = f"{signed(body, 'retired')}, {good}"  # while the rule's secret is being changed
        assert (await deliver_b2(plane, body, {SIGNATURE: both})).json()["duplicate"] == 2
        assert set(await plane.objects()) == {"images/raw/smiley.png", "b"}


async def test_a_signature_is_what_other_programs_compute(postgres_dsn: str) -> None:
    """As ``openssl dgst -sha256 -hmac`` prints it."""
    signature = "v1=10683e3d8fc5022681f573742e9f11684a3228306ddee85b97ab188136161265"
    async with control_plane(postgres_dsn, yurt_webhook_secrets=NEXT) as plane:
        assert (await deliver_b2(plane, b'{"events": []}', {SIGNATURE: signature})).status_code == 200


async def test_a_test_of_b2_is_answered_and_records_nothing(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        body = json.dumps({"events": [b2_test()]}).encode()
        response = await deliver_b2(plane, body, {SIGNATURE: signed(body, WEBHOOK)})
        assert (response.status_code, sum(response.json().values())) == (200, 0)
        assert not await plane.objects()
        assert not await plane.sql("select from quarantine")


async def test_a_wrong_signature_is_refused_unless_a_secret_comes_too(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        body = json.dumps({"events": [b2_event()]}).encode()
        good = signed(body, WEBHOOK)
        wrong = [
            signed(body, "wrong"),
            signed(body + b" ", WEBHOOK),
            good.removeprefix("v1="),
            good.replace("v1=", "v2="),
            good[:-1],
            good + "0",
            "v1=",
            ",,,",
            ",".join(["v1="] * 8 + [good]),
        ]
        for signature in wrong:
            response = await deliver_b2(plane, body, {SIGNATURE: signature})
            assert (response.status_code, response.json()["error"]) == (401, "unauthorized"), signature
            assert SIGNATURE in response.json()["message"]
        assert (await deliver_b2(plane, body, {})).status_code == 401
        assert (await deliver_b2(plane, body, {SIGNATURE: ""})).status_code == 401
        assert not await plane.objects()
        bearer = {SIGNATURE: wrong[0], "authorization": f"Bearer {WEBHOOK}"}
        assert (await deliver_b2(plane, body, bearer)).json()["accepted"] == 1


async def test_a_signature_counts_for_no_other_source(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        body = json.dumps({"events": [event("a.jpg")]}).encode()
        headers = {SIGNATURE: signed(body, WEBHOOK)}
        response = await plane.http.post("/v1/notifications/tigris", content=body, headers=headers)
        assert response.status_code == 401


async def test_a_body_whose_signature_is_not_known_yet_is_read_to_its_limit(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn) as plane:
        body = json.dumps({"events": [b2_event()]}).encode().ljust((1 << 20) + 1)
        response = await deliver_b2(plane, body, {SIGNATURE: signed(body, WEBHOOK)})
        assert response.status_code == 413
        response = await deliver_b2(plane, body[:-1], {SIGNATURE: signed(body[:-1], WEBHOOK)})
        assert response.json()["accepted"] == 1
