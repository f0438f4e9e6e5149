"""Certificates of SNS that were good are remembered: by other replicas, after a restart, the latest of them."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests import postgres
from tests.webhook.plane import RunningPlane, configured, control_plane, serving
from tests.webhook.sources.sns_service import FORGED, SnsService, certificate, sns_service
from webhook.ledger.certificates import LedgerCertificates
from webhook.sources.sns_calls import NEW_NAMES_A_MINUTE
from webhook.sources.sns_certificates import MOST, SnsCertificates


async def delivered(plane: RunningPlane, message: dict[str, Any]) -> httpx.Response:
    headers = {"x-amz-sns-message-type": message["Type"], "x-amz-sns-topic-arn": message["TopicArn"]}
    return await plane.http.post("/v1/notifications/s3", content=json.dumps(message), headers=headers)


async def forge(plane: RunningPlane, service: SnsService) -> None:
    """Use up the calls for new names."""
    for _ in range(NEW_NAMES_A_MINUTE):
        assert (await delivered(plane, service.notification("x", Signature=FORGED))).status_code == 403
    assert (await delivered(plane, service.notification("x", Signature=FORGED))).status_code == 503


async def test_after_a_restart_forged_messages_keep_no_genuine_one_from_being_judged(postgres_dsn: str) -> None:
    async with sns_service() as service, postgres.database(postgres_dsn) as (_, dsn):
        genuine = service.notification("hello")
        async with serving(dsn, configured(), loops=False, trust=service.trust()) as first:
            assert (await delivered(first, genuine)).status_code == 200
            async with serving(dsn, configured(), loops=False, trust=service.trust()) as restarted:
                await forge(restarted, service)
                calls = len(service.calls)
                assert (await delivered(restarted, genuine)).status_code == 200
                assert len(service.calls) == calls


async def test_the_latest_are_kept(postgres_dsn: str) -> None:
    async with control_plane(postgres_dsn, loops=False) as plane:
        kept = LedgerCertificates(plane.services.ledger, 3)
        for number in range(5):
            await kept.keep(f"https://{number}", certificate())
        assert [url for url, _ in await kept.load()] == ["https://4", "https://3", "https://2"]
        await kept.keep("https://2", certificate())
        assert [url for url, _ in await kept.load()] == ["https://2", "https://4", "https://3"]


async def test_few_are_held_and_none_that_cannot_be_read() -> None:
    certificates = SnsCertificates()
    await certificates.add("https://broken", b"x")
    assert await certificates.get("https://broken") is None
    for number in range(MOST + 1):
        await certificates.add(f"https://{number}", certificate())
    assert await certificates.get("https://0") is None
    assert await certificates.get(f"https://{MOST}") is not None
