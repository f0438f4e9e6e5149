"""Google Cloud Storage through Pub/Sub push: generations, metadata in base64, and what only made room."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from itertools import permutations
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.webhook.sources.fuzz import mutated, noise, withstands
from tests.webhook.sources.gcs_samples import CONTENT, metadata, push
from webhook.events import MAX_SIZE_BYTES, EventKind, ObjectEvent, UnreadableEvent
from webhook.sources.gcs import Gcs


def one(sample: dict[str, Any]) -> ObjectEvent:
    body = json.dumps(sample).encode()
    batch = Gcs().parse(body)
    assert batch.quarantined == []
    [read] = batch.events
    assert read == Gcs().event(body)
    return read


def test_an_upload() -> None:
    read = one(push(overwroteGeneration="1600000000000000"))
    assert (read.source, read.bucket, read.key) == ("gcs", "inbox", "photos/a b+c.jpg")
    assert (read.kind, read.size) == (EventKind.CREATED, 5)
    assert read.version.modified is None


def test_the_etag_is_what_the_s3_compatible_api_answers_with() -> None:
    """Not the metadata's own, which only the JSON API knows."""
    assert one(push()).version.etag == hashlib.md5(CONTENT).hexdigest()


@pytest.mark.parametrize(
    "more", [{"md5Hash": ..., "componentCount": 2}, {"kmsKeyName": "projects/p/…/1"}, {"md5Hash": ""}]
)
def test_where_the_etag_is_no_md5_none_is_announced(more: dict[str, Any]) -> None:
    assert one(push(data=metadata(**more))).version.etag is None


@pytest.mark.parametrize("size", [5, "5", 0, "0", MAX_SIZE_BYTES, str(MAX_SIZE_BYTES)])
def test_sizes_are_texts(size: int | str) -> None:
    assert one(push(data=metadata(size=size))).size == int(size)


def test_a_notification_without_payload_has_only_its_attributes() -> None:
    read = one(push(payloadFormat="NONE", data=""))
    assert (read.key, read.kind) == ("photos/a b+c.jpg", EventKind.CREATED)
    assert (read.size, read.version.etag) == (None, None)
    assert read.version.order == one(push()).version.order
    assert read.mark == one(push()).mark  # of two notifications of one bucket
    sample = push(payloadFormat="NONE")
    del sample["message"]["data"]
    assert one(sample) == read


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("OBJECT_FINALIZE", EventKind.CREATED),
        ("OBJECT_DELETE", EventKind.REMOVED),
        ("OBJECT_ARCHIVE", EventKind.REMOVED),
        ("OBJECT_METADATA_UPDATE", EventKind.IRRELEVANT),
    ],
)
def test_event_types(event_type: str, kind: EventKind) -> None:
    assert one(push(event_type)).kind is kind


@pytest.mark.parametrize("event_type", ["OBJECT_DELETE", "OBJECT_ARCHIVE"])
def test_what_went_only_to_make_room_for_newer_content_did_not_go(event_type: str) -> None:
    assert one(push(event_type, overwrittenByGeneration="1700000000999999")).kind is EventKind.IRRELEVANT


def test_a_removal_comes_after_all_that_happened_to_its_generation_and_before_the_next() -> None:
    samples = [
        push(data=metadata(metageneration="1")),
        push(data=metadata(metageneration="7")),
        push("OBJECT_DELETE", data=metadata(metageneration="2")),
        push(objectGeneration="1700000000123457"),
    ]
    read = [one(item).version for item in samples]
    assert [[a.is_older_than(b) for b in read] for a in read] == [[j > i for j in range(4)] for i in range(4)]


numbers = st.integers(0, 2**63 - 1) | st.integers(1, 300)


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=3))
def test_the_order_is_that_of_generation_and_metageneration(pairs: list[tuple[int, int]]) -> None:
    samples = [push(objectGeneration=str(g), data=metadata(metageneration=str(m))) for g, m in pairs]
    ranked = [((g, m or 1), one(item).version) for (g, m), item in zip(pairs, samples, strict=True)]
    for (a, x), (b, y) in permutations(ranked, 2):
        assert x.is_older_than(y) == (a < b)


def test_generations_are_not_compared_as_texts() -> None:
    short, long = one(push(objectGeneration="999")).version, one(push(objectGeneration="1000")).version
    assert short.is_older_than(long)
    assert not long.is_older_than(short)


def test_a_redelivery_has_the_same_mark_and_another_event_another() -> None:
    samples = [
        push(),
        push("OBJECT_DELETE"),
        push("OBJECT_ARCHIVE"),
        push(objectGeneration="1700000000123457"),
        push("OBJECT_METADATA_UPDATE", data=metadata(metageneration="2")),
        push("OBJECT_METADATA_UPDATE", data=metadata(metageneration="3")),
    ]
    marks = [one(item).mark for item in samples]
    again = [{**item, "deliveryAttempt": 6, "message": {**item["message"], "messageId": "2"}} for item in samples]
    assert marks == [one(item).mark for item in again]
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (push(eventType=...), "eventType"),
        (push("OBJECT_EXPLODED"), "OBJECT_EXPLODED"),
        (push(bucketId=...), "bucketId"),
        (push(bucketId=""), "bucket"),
        (push(objectId=...), "objectId"),
        (push(objectId=""), "empty"),
        (push(objectId="é" * 512 + "k"), "1024 bytes"),
        (push(objectId="a\nb"), "control"),
        (push(objectGeneration=...), "objectGeneration"),
        (push(objectGeneration="now"), "generation"),
        (push(objectGeneration="-1"), "generation"),
        (push(objectGeneration=str(2**63)), "63 bits"),
        (push(objectGeneration="9" * 5000), "generation"),
        (push(data="%%%"), "base64"),
        (push(data="é"), "base64"),
        (push(data="abc"), "base64"),
        (push(data=b64encode(b"\xff").decode()), ""),
        (push(data=b64encode(b"{").decode()), ""),
        (push(data=b64encode(b"[" * 100_000).decode()), ""),
        (push(data=[]), "object"),
        (push(data=metadata(size="5.5")), "size"),
        (push(data=metadata(size=-1)), "size"),
        (push(data=metadata(size=2**64)), "63 bits"),
        (push(data=metadata(metageneration="x")), "metageneration"),
        (push(data=metadata(md5Hash="x")), "md5Hash is not base64"),
        (push(data=metadata(md5Hash="YWJj")), "16 bytes"),
        ({"message": {"data": "e30="}}, "attributes"),
        ({"message": {"attributes": {}}}, "Cloud Storage"),
        ({"message": {"attributes": {"a": 1}}}, "attributes"),
        ({"message": None}, "message"),
        ({"message": float("nan")}, ""),
    ],
)
def test_pushes_that_go_to_quarantine_whole(sample: Any, why: str) -> None:
    body = json.dumps(sample).encode()
    batch = Gcs().parse(body)
    assert batch.events == []
    [bad] = batch.quarantined
    assert why in bad.reason
    assert (bad.source, bad.raw) == ("gcs", body)
    with pytest.raises(UnreadableEvent):
        Gcs().event(bad.raw)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b'{"Message": {}}',
        b'{"message": {}} x',
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_push_goes_to_quarantine_whole(body: bytes) -> None:
    batch = Gcs().parse(body)
    assert batch.events == []
    [bad] = batch.quarantined
    assert (bad.source, bad.raw) == ("gcs", body)
    assert bad.reason


def test_what_is_odd_in_the_metadata_does_no_harm() -> None:
    data = json.dumps(metadata()).encode()[:-1] + b', "metadata": {"title": "Caf\xe9", "n": NaN}}'
    assert one(push(data=b64encode(data).decode())) == one(push())
    body = json.dumps(push()).encode()[:-1] + b', "subscription": "\xff"}'
    assert Gcs().parse(body).events == [one(push())]


GOODS = [push(), push("OBJECT_DELETE", payloadFormat="NONE", data=""), {"message": {"attributes": {}}}]


@given(noise)
@example(b'{"message":{"attributes":{"\\ud800":"a"}}}')
def test_no_body_raises_anything(body: bytes) -> None:
    withstands(Gcs(), body)


@given(mutated(GOODS))
def test_no_damage_to_a_good_push_raises_anything(body: bytes) -> None:
    withstands(Gcs(), body)


@given(mutated([metadata()]))
def test_no_damage_to_the_metadata_raises_anything(data: bytes) -> None:
    withstands(Gcs(), json.dumps(push(data=b64encode(data).decode())).encode())
