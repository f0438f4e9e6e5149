from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.webhook.sources.b2_samples import b2_event, b2_test
from tests.webhook.sources.fuzz import mutated, noise, values, withstands
from webhook.events import MAX_SIZE_BYTES, ContentVersion, EventKind, ObjectEvent
from webhook.sources import Batch
from webhook.sources.b2 import B2


def parse(*events: Any) -> Batch:
    return B2().parse(json.dumps({"events": events}).encode())


def one(sample: dict[str, Any]) -> ObjectEvent:
    batch = parse(sample)
    assert not batch.quarantined
    [read] = batch.events
    return read


def reason(sample: Any) -> str:
    """The reason for which an event is quarantined, between two that are not."""
    batch = parse(b2_event(objectName="good"), sample, b2_event(objectName="other"))
    assert [read.key for read in batch.events] == ["good", "other"]
    [bad] = batch.quarantined
    assert bad.source == "b2"
    assert json.loads(bad.raw) == sample
    return bad.reason


def test_the_vendors_own_example() -> None:
    read = one(b2_event())
    assert (read.source, read.bucket, read.key, read.size) == ("b2", "inbox", "images/raw/smiley.png", 10_495_842)
    assert read.kind is EventKind.CREATED


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("b2:ObjectCreated:Upload", EventKind.CREATED),
        ("b2:ObjectCreated:MultipartUpload", EventKind.CREATED),
        ("b2:ObjectCreated:Copy", EventKind.CREATED),
        ("b2:ObjectCreated:Replica", EventKind.CREATED),
        ("b2:ObjectCreated:MultipartReplica", EventKind.CREATED),
        ("b2:ObjectCreated:SomethingNew", EventKind.CREATED),
        ("b2:ObjectDeleted:Delete", EventKind.REMOVED),
        ("b2:ObjectDeleted:LifecycleRule", EventKind.REMOVED),
        ("b2:HideMarkerCreated:Hide", EventKind.REMOVED),
        ("b2:HideMarkerCreated:LifecycleRule", EventKind.REMOVED),
        ("b2:MultipartUploadCreated:LiveRead", EventKind.IRRELEVANT),
    ],
)
def test_event_types(name: str, kind: EventKind) -> None:
    assert one(b2_event(name)).kind is kind


def test_no_event_proves_an_order() -> None:
    """Two writes of one millisecond, or a clock that went back, must not make the newer content look old."""
    for timestamp in (0, 1_684_793_309_123, 2**63 - 1):
        read = one(b2_event(eventTimestamp=timestamp))
        assert read.version == ContentVersion()


@pytest.mark.parametrize("name", ["b2:ObjectDeleted:Delete", "b2:HideMarkerCreated:Hide"])
@pytest.mark.parametrize("size", [0, 7, None, ...])
def test_the_size_of_a_removal_is_that_of_no_content(name: str, size: Any) -> None:
    assert one(b2_event(name, objectSize=size)).size is None


@pytest.mark.parametrize("size", [0, 1, 5 * 2**40, MAX_SIZE_BYTES])
def test_sizes_have_63_bits(size: int) -> None:
    assert one(b2_event(objectSize=size)).size == size


@pytest.mark.parametrize("key", ["a+b %41.jpg", "été/写真/🏕️.jpg", "k" * 1024, "..a/b..", "a//b"])
def test_names_are_taken_as_they_are(key: str) -> None:
    assert one(b2_event(objectName=key)).key == key


@pytest.mark.parametrize("field", ["objectSize", "objectVersionId", "eventId", "eventTimestamp"])
def test_what_may_be_missing_or_null(field: str) -> None:
    missing, null = b2_event(), {**b2_event(), field: None}
    del missing[field]
    assert one(missing) == one(null)


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (b2_event(objectName=...), "objectName"),
        (b2_event(bucketName=...), "bucketName"),
        (b2_event(eventType=...), "eventType"),
        (b2_event(objectName=""), "empty"),
        (b2_event(objectName="k" * 1025), "longer than 1024 bytes"),
        (b2_event(objectName="a/../b"), "path segment"),
        (b2_event(objectName="a\nb"), "control"),
        (b2_event(bucketName=""), "bucket"),
        (b2_event("b2:ObjectExploded:Now"), "b2:ObjectExploded"),
        (b2_event("ObjectCreated:Put"), "unknown eventType"),
        (b2_event(objectSize=-1), "negative"),
        (b2_event(objectSize=2**63), "63 bits"),
        (b2_event(objectSize="7"), "objectSize"),
        (b2_event(eventId="e" * 1025), "eventId"),
        (b2_event(objectVersionId="e" * 1025), "objectVersionId"),
        (b2_event(eventTimestamp="yesterday"), "eventTimestamp"),
        (None, "null"),
        ([], "array"),
        ("b2:TestEvent", "str"),
    ],
)
def test_events_that_go_to_quarantine_with_their_text(sample: Any, why: str) -> None:
    assert why in reason(sample)


def test_a_test_is_neither_an_event_nor_unreadable() -> None:
    assert parse(b2_test()) == Batch()
    assert parse(b2_test(), b2_event()) == parse(b2_event())
    assert B2().parse(json.dumps(b2_test()).encode()) == Batch()


def test_an_event_has_one_mark_however_often_it_is_sent() -> None:
    samples = [
        b2_event(),
        b2_event(eventId="another"),
        b2_event(eventId=...),
        b2_event(eventId=..., objectVersionId="another"),
        b2_event(eventId=..., eventTimestamp=1),
        b2_event("b2:ObjectCreated:Copy", eventId=...),
    ]
    marks = [one(sample).mark for sample in samples]
    assert marks == [one(sample).mark for sample in samples]
    assert len(set(marks)) == len(marks)
    assert one(b2_event(matchedRuleName="another-rule")).mark == marks[0]


def test_one_event_without_a_list_is_read() -> None:
    """It is what quarantine keeps, and what is replayed."""
    assert B2().parse(json.dumps(b2_event()).encode()) == parse(b2_event())


def test_two_lists_are_one() -> None:
    good = json.dumps(b2_event()).encode()
    assert B2().parse(b'{"events": [' + good + b'], "events": [' + good + b"]}") == parse(b2_event(), b2_event())


@given(st.lists(st.dictionaries(st.sampled_from(list(b2_event())), values) | values, max_size=5))
def test_every_event_of_an_envelope_is_read_or_quarantined(changes: list[Any]) -> None:
    samples = [{**b2_event(), **item} if isinstance(item, dict) else item for item in changes]
    batch = parse(*samples)
    assert len(batch.events) + len(batch.quarantined) == len(samples)


@given(noise)
@example(b'{"events":[{"a":1e999}]}')
@example(b'{"eventType": "b2:TestEvent"}')
def test_no_body_raises_anything(body: bytes) -> None:
    withstands(B2(), body)


@given(mutated([{"events": [b2_event(), b2_test(), b2_event("b2:HideMarkerCreated:Hide", objectSize=0)]}]))
def test_no_damage_to_a_good_body_raises_anything(body: bytes) -> None:
    withstands(B2(), body)
