"""The lease message of a claimed object: what a worker may fetch, and what the control plane knows of the content."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from webhook.api.lease_messages import LeaseMessages
from webhook.config import Pipeline
from webhook.ledger.ledger import ClaimedObject
from webhook.models.catalogue import ModelCatalogue
from webhook.storage import ObjectStore
from webhook.storage.presign import Presigner, SigningKeys
from workers import protocol

NEWEST_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
CLAIMED = ClaimedObject(
    id=5, token=40, pipeline_id=1, key="a b.jpg", attempt=2, event_etag="e", newest_at=NEWEST_AT, done_etag=None,
    done_modified=None, publish_started=False, believed=True, trial=False,
)  # fmt: skip


def lease(claimed: ClaimedObject = CLAIMED, **fields: Any) -> protocol.Lease:
    """The message of a claimed object. ``fields`` are of its pipeline."""
    pipeline = Pipeline.model_validate({"input": "s3://ups/", "output": "s3://outs/made/", **fields})
    presigner = Presigner("http://127.0.0.1:9", "auto", SigningKeys("AKID", "secret"))
    catalogue = ModelCatalogue({}, cast("ObjectStore", None))
    return LeaseMessages(presigner, catalogue).lease(claimed, ("photos", pipeline))


def test_a_lease_names_its_object_and_what_is_known_of_its_content() -> None:
    message = lease(lease_seconds=300)
    assert (message.id, message.token, message.pipeline, message.attempt) == (5, 40, "photos", 2)
    assert (message.bucket, message.key, message.lease_seconds) == ("ups", "a b.jpg", 300)
    assert message.expected == protocol.Expected(etag="e", modified=NEWEST_AT, believed=True)
    assert urlsplit(message.input.url).path == "/ups/a%20b.jpg"


def test_a_handler_gets_its_options_and_limits() -> None:
    handler = lease(handler="photo", options={"sizes": [64]}, timeout_seconds=20).handler
    assert (handler.kind, handler.options, handler.limits.wall_seconds) == ("photo", {"sizes": [64]}, 20)


def test_a_known_result_makes_the_input_conditional_and_needs_no_manifest() -> None:
    message = lease(replace(CLAIMED, done_etag="d", done_modified=NEWEST_AT))
    assert message.input.headers == {"if-none-match": '"d"'}
    assert parse_qs(urlsplit(message.input.url).query)["X-Amz-SignedHeaders"] == ["host;if-none-match"]
    assert message.expected.after == NEWEST_AT
    assert message.manifest is None


def test_without_a_known_result_an_earlier_manifest_may_be_read() -> None:
    manifest = lease().manifest
    assert manifest is not None
    assert urlsplit(manifest.url).path == "/outs/made/a%20b.jpg/result.json"
    assert not manifest.headers


@pytest.mark.parametrize(
    "claimed",
    [
        pytest.param(replace(CLAIMED, publish_started=True), id="may be of any content"),
        pytest.param(replace(CLAIMED, key="k" * 1020), id="its key is too long"),
    ],
)
def test_no_manifest_is_named_where_none_can_be_used(claimed: ClaimedObject) -> None:
    assert lease(claimed).manifest is None


def test_strong_reads_are_requested_where_the_pipeline_says_so() -> None:
    assert lease(consistent_reads=True).input.headers == {"x-tigris-consistent": "true"}
