"""How long presigned URLs are valid: a GET longer than its lease, a PUT shorter."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from webhook.config import Pipeline
from webhook.ledger.ledger import LiveLease
from webhook.outputs.conditions import Style
from webhook.outputs.presigning import LeaseOutputs, get_seconds, presign, put_seconds
from webhook.storage import ObjectStore
from webhook.storage.presign import MAX_EXPIRES_SECONDS, SigningKeys
from workers.protocol import OutputRequest, OutputsRequest


def pipeline(lease_seconds: float = 180) -> Pipeline:
    return Pipeline.model_validate(
        {"input": "s3://ups/", "output": "s3://outs/made/", "timeout_seconds": 1, "lease_seconds": lease_seconds}
    )


def lease(left_seconds: float, published: dict[str, str] | None = None) -> LiveLease:
    return LiveLease(1, 40, 1, "a.jpg", published or {}, 0, left_seconds)


@pytest.mark.parametrize(
    ("lease_seconds", "left_seconds", "valid_seconds"),
    [(180, 180, 160), (180, 100, 80), (180, 15, 1), (8, 8, 6), (604_800, 604_800, 604_780)],
)
def test_a_put_ends_before_its_lease(lease_seconds: float, left_seconds: float, valid_seconds: int) -> None:
    assert put_seconds(lease(left_seconds), pipeline(lease_seconds)) == valid_seconds


def test_a_get_outlives_its_lease_by_five_minutes_as_far_as_a_signature_can() -> None:
    assert get_seconds(pipeline(180)) == 480
    assert get_seconds(pipeline(604_800)) == MAX_EXPIRES_SECONDS


@pytest.mark.parametrize(
    ("style", "published", "key", "condition"),
    [
        (Style.QUOTED, {}, "made/a.jpg/a.webp", {"if-none-match": "*"}),
        (Style.QUOTED, {"a.webp": "w1"}, "made/a.jpg/a.webp", {"if-match": '"w1"'}),
        (Style.UNQUOTED, {"a.webp": "w1"}, "made/a.jpg/a.webp", {"if-match": "w1"}),
        (Style.NONE, {"a.webp": "w1"}, "made/a.jpg/.yurt-40/a.webp", {}),
    ],
)
async def test_the_condition_is_what_the_store_honours(
    style: Style, published: dict[str, str], key: str, condition: dict[str, str]
) -> None:
    store = ObjectStore("http://127.0.0.1:1", "auto", SigningKeys("tid_test", "tsec_test"))
    request = OutputsRequest(
        token=40,
        etag="fetched",
        modified=datetime(2026, 5, 15, tzinfo=UTC),
        outputs=[OutputRequest(name="a.webp", size=1, content_type="image/webp", cache_control="max-age=60")],
    )
    [upload] = await presign(store, LeaseOutputs(lease(180, published), "photos", pipeline(), style, request))
    await store.aclose()
    assert f"/outs/{key}?" in upload.url
    assert upload.headers == {
        "content-type": "image/webp",
        "cache-control": "max-age=60",
        "content-disposition": "inline",
        "content-encoding": "identity",
        "x-amz-meta-yurt-pipeline": "photos",
        "x-amz-meta-yurt-token": "40",
        "x-amz-meta-yurt-input-etag": "fetched",
        "x-amz-meta-yurt-input-modified": "2026-05-15T00:00:00+00:00",
        **condition,
    }
