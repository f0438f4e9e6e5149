"""AWS, EventBridge, MinIO and Ceph: differences between notifications that look alike."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime
from itertools import pairwise, permutations, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.webhook.sources.fuzz import mutated, noise, withstands
from tests.webhook.sources.s3_samples import RECORDED, aws, bridged, ceph, minio, recorded
from webhook.events import MAX_SIZE_BYTES, ContentVersion, EventKind, ObjectEvent, UnreadableEvent
from webhook.sources import MAX_EVENTS, Batch
from webhook.sources.s3 import AHEAD_SECONDS, CEPH_INEXACT_SECONDS, S3

NOW = 1_800_000_000
"""2027-01-15: later than all that was recorded."""


def source() -> S3:
    return S3(lambda: NOW)


def parse(*records: Any) -> Batch:
    return source().parse(json.dumps({"Records": records}).encode())


def one(sample: dict[str, Any]) -> ObjectEvent:
    """The one event of a record, or of an event of EventBridge."""
    body = sample if "detail-type" in sample else {"Records": [sample]}
    batch = source().parse(json.dumps(body).encode())
    assert batch.quarantined == []
    [read] = batch.events
    assert read == source().event(json.dumps(sample).encode())
    return read


def reason(sample: Any) -> str:
    """The reason for which a record is quarantined, between two that are not."""
    batch = parse(aws(key="good"), sample, aws(key="other"))
    assert [read.key for read in batch.events] == ["good", "other"]
    [bad] = batch.quarantined
    assert (bad.source, json.loads(bad.raw)) == ("s3", sample)
    with pytest.raises(UnreadableEvent) as again:
        source().event(bad.raw)
    assert str(again.value) == bad.reason
    return bad.reason


def older(*events: dict[str, Any]) -> list[list[bool]]:
    read = [one(sample).version for sample in events]
    return [[a.is_older_than(b) for b in read] for a in read]


def dialects(**item: Any) -> list[dict[str, Any]]:
    return [aws(**item), bridged(**item), minio(**item), ceph(**item)]


# ── AWS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_aws_own_example() -> None:
    read = one(aws())
    assert (read.source, read.bucket, read.key) == ("s3", "amzn-s3-demo-bucket", "HappyFace.jpg")
    assert (read.kind, read.size) == (EventKind.CREATED, 1024)
    assert (read.version.etag, read.version.modified) == ("d41d8cd98f00b204e9800998ecf8427e", None)


def test_an_aws_key_is_form_encoded() -> None:
    assert one(aws(key="red+flower%2B%25.jpg")).key == "red flower+%.jpg"
    assert one(aws(key="%E6%97%A5%E6%9C%AC/%F0%9F%8F%95.jpg")).key == "日本/🏕.jpg"
    assert one(aws(key="a%2541")).key == "a%41"  # decoded once


@pytest.mark.parametrize("key", ["100%", "a%2", "%zz", "%E6%97"])
def test_a_key_that_was_decoded_on_the_way_or_is_no_text_is_not_guessed(key: str) -> None:
    assert "key" in reason(aws(key=key))


def test_a_test_event_of_aws_has_no_records_and_tells_nothing() -> None:
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2014-10-13T15:57:02.089Z", "Bucket": "b"}
    assert source().parse(json.dumps(test_event).encode()) == Batch()


def test_aws_sequencers_of_one_length_compare_whatever_their_case() -> None:
    a, b = aws(sequencer="0055AED6DCD90281E5"), aws(sequencer="0055aed6dcd90281e6")
    assert older(a, b) == [[False, True], [False, False]]
    same = one(aws(sequencer="0055aed6dcd90281e5"))
    assert not same.version.is_older_than(one(a).version)
    assert same.mark == one(a).mark


def test_aws_sequencers_of_different_length_do_not_compare() -> None:
    assert older(aws(sequencer="0055AED6DCD90281E5"), aws(sequencer="ffAED6DCD90281E6")) == [[False] * 2] * 2


@pytest.mark.parametrize("sequencer", [None, "", "not hex", "0x12", "ab" * 33, "-1", "١٢"])
def test_an_event_whose_sequencer_cannot_be_read_is_a_hint_without_order(sequencer: str | None) -> None:
    for item in dialects(sequencer=sequencer):
        assert one(item).version.order is None


def test_event_time_is_never_order() -> None:
    early, late = aws(sequencer=None), {**aws(sequencer=None), "eventTime": "2026-01-01T00:00:00.000Z"}
    assert older(early, late) == [[False] * 2] * 2
    assert one(early).mark != one(late).mark


def test_sizes_come_as_numbers_and_as_texts() -> None:
    for size in (0, 5 * 2**40, MAX_SIZE_BYTES):
        for item in (*dialects(size=size), *dialects(size=str(size))):
            assert one(item).size == size
    for item in dialects(size=""):
        assert one(item).size is None


def test_a_deletion_has_neither_size_nor_etag() -> None:
    for item in (aws("ObjectRemoved:Delete"), minio("s3:ObjectRemoved:Delete")):
        for name in ("size", "eTag"):
            item["s3"]["object"].pop(name, None)
        read = one(item)
        assert (read.kind, read.size, read.version.etag) == (EventKind.REMOVED, None, None)


# ── EventBridge ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_eventbridge_says_one_event_a_request() -> None:
    read = one(bridged())
    assert (read.bucket, read.key, read.size) == ("amzn-s3-demo-bucket", "example-key", 5)
    assert (read.kind, read.version.etag) == (EventKind.CREATED, "b1946ac92492d2347c6235b4d2611184")


@pytest.mark.parametrize("key", ["a+b.jpg", "100%", "a%20b", "日本 🏕.jpg"])
def test_a_key_of_eventbridge_is_not_encoded(key: str) -> None:
    assert one(bridged(key=key)).key == key


def test_one_change_is_one_event_whether_aws_tells_it_or_eventbridge() -> None:
    item = {"key": "k", "sequencer": "617F08299329D189", "versionId": "v"}
    etag = "b1946ac92492d2347c6235b4d2611184"
    there = bridged(key="k", **{"sequencer": "617f08299329d189", "version-id": "v"})
    assert one(aws(**item, eTag=etag)).mark == one(there).mark
    assert one(aws(**item, eTag=etag)).version == one(there).version
    gone = bridged("Object Deleted", key="k", **{"sequencer": "617f08299329d189", "version-id": "v"})
    assert one(aws("ObjectRemoved:Delete", **item, eTag=None)).mark == one(gone).mark


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (bridged("Object Exploded"), "Object Exploded"),
        (bridged("AWS API Call via CloudTrail"), "CloudTrail"),
        ({**bridged(), "source": "my.app"}, "my.app"),
        ({**bridged(), "detail": {}}, "bucket"),
        ({**bridged(), "detail": None}, "detail"),
        ({"detail-type": None}, "detail-type"),
        (bridged(key=None), "key"),
    ],
)
def test_events_of_eventbridge_that_go_to_quarantine_whole(item: Any, why: str) -> None:
    body = json.dumps(item).encode()
    batch = source().parse(body)
    assert batch.events == []
    [bad] = batch.quarantined
    assert why in bad.reason
    assert bad.raw == body


# ── MinIO ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_minio_says_the_name_with_a_prefix_and_the_key_query_escaped_and_much_beside_the_records() -> None:
    item = {"EventName": "s3:ObjectCreated:Put", "Key": "inbox/images/my photo.jpg", "Records": [minio()]}
    [read] = source().parse(json.dumps(item).encode()).events
    assert (read.bucket, read.key, read.kind) == ("inbox", "images/my photo.jpg", EventKind.CREATED)


@given(st.lists(st.integers(0, NOW * 10**9), min_size=2, max_size=2))
def test_minio_sequencers_are_compared_as_numbers(nanos: list[int]) -> None:
    a, b = (one(minio(sequencer=f"{number:X}")).version for number in nanos)
    assert a.is_older_than(b) == (nanos[0] < nanos[1])


def test_minio_sequencers_are_not_compared_as_texts() -> None:
    assert "F" > "10"
    assert older(minio(sequencer="F"), minio(sequencer="10")) == [[False, True], [False, False]]


def test_a_minio_sequencer_is_last_modified() -> None:
    moment = datetime(2026, 5, 15, 10, 30, 0, 123456, tzinfo=UTC)
    nanos = int(moment.timestamp()) * 10**9 + 123_456_789
    assert one(minio(sequencer=f"{nanos:X}")).version.modified == moment
    assert one(minio("s3:ObjectRemoved:Delete", sequencer=f"{nanos:X}")).version.modified is None


def test_the_removal_of_an_old_version_is_not_old_news_at_minio() -> None:
    """It is stamped with the time of what was removed; that may have been the last version."""
    newer, late = minio(sequencer="20"), minio("s3:ObjectRemoved:Delete", sequencer="10", versionId="v1")
    assert older(late, newer)[0] == [False, False]
    marker = minio("s3:ObjectRemoved:DeleteMarkerCreated", sequencer="10", versionId="v2")
    whole = minio("s3:ObjectRemoved:Delete", sequencer="10", versionId="")
    assert older(marker, whole, newer)[0][2]
    assert older(marker, whole, newer)[1][2]


# ── Ceph ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def packed(seconds: int, nanos: int) -> str:
    return struct.pack("<II", seconds, nanos).hex().upper()


seconds = st.integers(0, NOW)
nanos = st.integers(0, 10**9 - 1)
moments = st.tuples(seconds, nanos)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_a_ceph_gateway_sent(path: Path) -> None:
    about = json.loads(path.read_text(encoding="utf-8"))
    body = recorded(path)["body"]
    item = json.loads(body)["Records"][0]
    batch = source().parse(body.encode())
    assert batch.quarantined == []
    [read] = batch.events
    assert read.key == about["key"]
    assert read.bucket == item["s3"]["bucket"]["name"]
    assert read.size == item["s3"]["object"]["size"]
    assert read.version.etag == (item["s3"]["object"]["eTag"] or None)
    assert read.kind is (EventKind.REMOVED if "Removed" in item["eventName"] else EventKind.CREATED)
    assert read.version.order is not None


def test_every_recording_is_there() -> None:
    assert len(RECORDED) == 18


def test_recorded_changes_of_one_key_within_a_minute_are_not_ordered_and_later_ones_are() -> None:
    reads = [source().parse(recorded(path)["body"].encode()).events[0] for path in RECORDED]
    assert len({read.mark for read in reads}) == len(reads)
    assert not any(a.version.is_older_than(b.version) for a, b in permutations(reads, 2))
    late = one(ceph(sequencer=packed(1_795_289_800 + CEPH_INEXACT_SECONDS + 1, 0))).version
    assert reads[0].version.is_older_than(late)


@given(moments, moments)
def test_ceph_sequencers_are_pairs_of_little_endian_numbers(a: tuple[int, int], b: tuple[int, int]) -> None:
    first, second = (one(ceph(sequencer=packed(*moment))).version for moment in (a, b))
    assert first.order is not None
    assert second.order is not None
    assert (first.order.key < second.order.key) == (a < b)
    assert first.is_older_than(second) == ((a[0] + CEPH_INEXACT_SECONDS, a[1]) < b)


def test_as_texts_ceph_sequencers_would_be_wrong_for_half_of_all_pairs() -> None:
    """Shows why they are decoded."""
    moments = [(1_795_289_800 + step * 61, step * 104_729_000 % 10**9) for step in range(100)]
    wrong = sum(packed(*a) > packed(*b) for a, b in pairwise(moments))
    assert 20 <= wrong <= 80


@pytest.mark.parametrize("sequencer", [packed(1, 10**9), packed(1, 2**32 - 1), packed(1, 0)[:-2], packed(1, 0) + "00"])
def test_a_ceph_sequencer_that_is_no_moment_orders_nothing(sequencer: str) -> None:
    assert one(ceph(sequencer=sequencer)).version.order is None


def test_a_sequencer_from_the_future_orders_nothing() -> None:
    """A gateway whose clock was once years ahead would make all that comes after it look old."""
    soon = NOW + AHEAD_SECONDS
    assert one(ceph(sequencer=packed(soon, 0))).version.order is not None
    assert one(ceph(sequencer=packed(soon, 1))).version.order is None
    assert one(minio(sequencer=f"{soon * 10**9:X}")).version.order is not None
    assert one(minio(sequencer=f"{soon * 10**9 + 1:X}")).version.order is None
    assert one(minio(sequencer="F" * 16)).version.order is None


def test_a_ceph_interval_ends_where_32_bits_do() -> None:
    read = S3(lambda: 2**32).event(json.dumps(ceph(sequencer=packed(2**32 - 2, 5))).encode())
    assert read.version.order is not None
    assert read.version.order.latest == struct.pack(">II", 2**32 - 1, 5)


@pytest.mark.parametrize("key", ["a+b.txt", "a%2Fb%20c.txt", "100%", "a b/ü-日本.txt"])
def test_a_ceph_key_is_never_decoded(key: str) -> None:
    assert one(ceph(key=key)).key == key


def test_a_put_that_ceph_refused_is_announced_all_the_same_and_is_a_hint() -> None:
    item = {**ceph(), "eventTime": "0.000000"}
    assert one(item) == one(ceph())


# ── all ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ObjectCreated:Put", EventKind.CREATED),
        ("ObjectCreated:Post", EventKind.CREATED),
        ("ObjectCreated:Copy", EventKind.CREATED),
        ("ObjectCreated:CompleteMultipartUpload", EventKind.CREATED),
        ("ObjectCreated:SomethingNew", EventKind.CREATED),
        ("ObjectSynced:Create", EventKind.CREATED),
        ("ObjectRemoved:Delete", EventKind.REMOVED),
        ("ObjectRemoved:DeleteMarkerCreated", EventKind.REMOVED),
        ("ObjectRemoved:NoOP", EventKind.REMOVED),
        ("LifecycleExpiration:Delete", EventKind.REMOVED),
        ("LifecycleExpiration:DeleteMarkerCreated", EventKind.REMOVED),
        ("LifecycleDelMarkerExpiration:Delete", EventKind.REMOVED),
        ("ObjectLifecycle:Expiration:Current", EventKind.REMOVED),
        ("ObjectSynced:Delete", EventKind.REMOVED),
        ("ObjectSynced:DeletionMarkerCreated", EventKind.REMOVED),
        ("ReducedRedundancyLostObject", EventKind.REMOVED),
        ("ObjectCreated:PutTagging", EventKind.IRRELEVANT),
        ("ObjectCreated:DeleteTagging", EventKind.IRRELEVANT),
        ("ObjectCreated:PutRetention", EventKind.IRRELEVANT),
        ("ObjectCreated:PutLegalHold", EventKind.IRRELEVANT),
        ("ObjectAccessed:Get", EventKind.IRRELEVANT),
        ("ObjectAccessed:Head", EventKind.IRRELEVANT),
        ("ObjectTagging:Put", EventKind.IRRELEVANT),
        ("ObjectTagging:Delete", EventKind.IRRELEVANT),
        ("ObjectAcl:Put", EventKind.IRRELEVANT),
        ("ObjectRestore:Post", EventKind.IRRELEVANT),
        ("ObjectRestore:Completed", EventKind.CREATED),
        ("ObjectTransition:Complete", EventKind.IRRELEVANT),
        ("ObjectLifecycle:Expiration:NonCurrent", EventKind.IRRELEVANT),
        ("ObjectLifecycle:Transition:Current", EventKind.IRRELEVANT),
        ("LifecycleTransition", EventKind.IRRELEVANT),
        ("IntelligentTiering", EventKind.IRRELEVANT),
        ("Replication:OperationCompletedReplication", EventKind.IRRELEVANT),
        ("Scanner:ManyVersions", EventKind.IRRELEVANT),
    ],
)
def test_event_names_with_and_without_prefix(name: str, kind: EventKind) -> None:
    for make, prefix in product((aws, minio, ceph), ("", "s3:")):
        assert one(make(prefix + name)).kind is kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Object Created", EventKind.CREATED),
        ("Object Deleted", EventKind.REMOVED),
        ("Object Restore Initiated", EventKind.IRRELEVANT),
        ("Object Restore Completed", EventKind.CREATED),
        ("Object Restore Expired", EventKind.IRRELEVANT),
        ("Object Storage Class Changed", EventKind.IRRELEVANT),
        ("Object Access Tier Changed", EventKind.IRRELEVANT),
        ("Object ACL Updated", EventKind.IRRELEVANT),
        ("Object Tags Added", EventKind.IRRELEVANT),
        ("Object Tags Deleted", EventKind.IRRELEVANT),
    ],
)
def test_event_names_of_eventbridge(name: str, kind: EventKind) -> None:
    assert one(bridged(name)).kind is kind


def replaced(path: str, value: Any) -> dict[str, Any]:
    """AWS's record with one value replaced, or taken away."""
    item = aws()
    *folders, name = path.split(".")
    place = item
    for folder in folders:
        place = place[folder]
    place[name] = value
    if value is ...:
        del place[name]
    return item


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (aws("ObjectExploded:Put"), "ObjectExploded"),
        (aws("objectcreated:put"), "objectcreated"),
        (aws("TestEvent"), "TestEvent"),
        (replaced("eventSource", "garage:s3"), "garage:s3"),
        (replaced("eventSource", ...), "eventSource"),
        (replaced("eventSource", "x" * 1000), "unknown eventSource"),
        (replaced("eventName", 3), "eventName"),
        (replaced("s3", None), "s3"),
        (replaced("s3.bucket", "b"), "bucket"),
        (replaced("s3.bucket.name", ""), "bucket"),
        (replaced("s3.bucket.name", "b" * 256), "bucket"),
        (replaced("s3.object", []), "object"),
        (replaced("s3.object.key", ...), "key"),
        (aws(key=""), "empty"),
        (aws(key="k" * 1025), "1024 bytes"),
        (aws(key="%C3%A9" * 512 + "k"), "1024 bytes"),
        (aws(key="%41" * 1025), "1024 bytes"),
        (aws(key="a%00b"), "control"),
        (aws(key="a%0Ab"), "control"),
        (aws(key="a%2F..%2Fb"), "path segment"),
        (aws(size=-1), "negative"),
        (aws(size="-1"), "size"),
        (aws(size="1e3"), "size"),
        (aws(size="9" * 21), "size"),
        (aws(size="9" * 20), "63 bits"),
        (aws(size="9" * 5000), "size"),
        (aws(size=2**64), "63 bits"),
        (aws(size=1.5), "size"),
        (aws(eTag="e" * 201), "eTag"),
        (aws(eTag="a\0"), "eTag"),
        (aws(versionId="v" * 1025), "version id"),
        (aws(sequencer="a" * 1025), "sequencer"),
        (aws(sequencer=12), "sequencer"),
        (None, "null"),
        ([], "array"),
        ("text", "str"),
        ({}, "eventSource"),
    ],
)
def test_one_bad_record_never_spoils_the_batch(item: Any, why: str) -> None:
    assert why in reason(item)


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "1e400", "9" * 5000, "[" * 40 + "]" * 40, '"\\ud800"', '"\\udc00\\ud800"']
)
def test_what_json_does_not_know_spoils_its_own_record_only(text: str) -> None:
    raw = json.dumps(aws(size="HERE")).replace('"HERE"', text)
    for beside in ("1", text):
        body = f'{{ "x" : {beside}, "Records" : [{json.dumps(aws())} , {raw}\n] }}'.encode()
        batch = source().parse(body)
        [bad] = batch.quarantined
        assert len(batch.events) == 1
        assert bad.raw == raw.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"1e999",
        b'{"Records": {}}',
        b'{"Records": null}',
        b'{"Records": "x"}',
        b'{"records": []}',
        b'{"Event": "s3:OtherEvent"}',
        b'{"Event": null}',
        b'\xff\xfe{"Records": []}',
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_notification_goes_to_quarantine_whole(body: bytes) -> None:
    batch = source().parse(body)
    assert batch.events == []
    [bad] = batch.quarantined
    assert (bad.source, bad.raw) == ("s3", body)
    assert bad.reason


def test_an_sns_message_without_its_header_is_told_apart() -> None:
    [bad] = source().parse(b'{"Type": "Notification", "Message": "{}"}').quarantined
    assert "x-amz-sns-message-type" in bad.reason


def with_metadata(record: dict[str, Any], value: bytes) -> bytes:
    """A record as Ceph sends it, with the user's metadata."""
    return json.dumps(record).encode()[:-1] + b', "opaque": {"x-amz-meta-title": ' + value + b"}}"


@pytest.mark.parametrize(
    "odd",
    [b'"Caf\xe9"', b'"\\ud800"', b'"a\x01b"', b"NaN", b"9" * 10_000, b"1e999999", b'"\\u0000"', b'"\xed\xa0\x80"'],
)
def test_what_is_odd_in_the_metadata_does_no_harm(odd: bytes) -> None:
    for record in (ceph(), aws(), minio()):
        read = source().parse(b'{"Records": [' + with_metadata(record, odd) + b"]}")
        assert read == Batch([one(record)])
    assert source().parse(with_metadata(bridged(), odd)) == Batch([one(bridged())])


def test_a_record_that_cannot_be_read_is_quarantined_alone() -> None:
    good, bad = json.dumps(ceph()).encode(), json.dumps(ceph(key="a?b")).encode().replace(b"?", b"\xe9")
    batch = source().parse(b'{"Records": [' + b",".join([good, bad, b"x", good]) + b"]}")
    assert batch.events == [one(ceph())] * 2
    assert [text.raw for text in batch.quarantined] == [bad, b"x"]
    assert batch.quarantined[0].reason == "the key is not UTF-8"


def test_two_lists_are_one_and_a_record_without_a_list_is_read() -> None:
    text = json.dumps(ceph()).encode()
    assert source().parse(b'{"Records": [' + text + b'], "Records": [' + text + b"]}") == parse(ceph(), ceph())
    assert source().parse(text) == parse(ceph())


def test_a_request_may_be_empty_or_full_and_mixed() -> None:
    assert parse() == Batch()
    assert len(parse(*[aws()] * MAX_EVENTS).events) == MAX_EVENTS
    assert [read.key for read in parse(aws(key="a+b"), minio(key="a+b"), ceph(key="a+b")).events] == [
        "a b",
        "a b",
        "a+b",
    ]


def test_a_redelivery_has_the_same_mark_and_another_event_another() -> None:
    for make, removed in ((aws, "ObjectRemoved:Delete"), (minio, "s3:ObjectRemoved:Delete"), (ceph, "ObjectRemoved:X")):
        samples = [
            make(),
            make(sequencer="01" * 8),
            make(sequencer="02" * 8),
            make(removed),
            make(versionId="other"),
            make(eTag="other"),
            make(sequencer=None),
            {**make(sequencer=None), "eventTime": "2026-05-15T10:30:00.000Z"},
            make(sequencer=None, eTag="other"),
        ]
        marks = [one(item).mark for item in samples]
        assert marks == [one({**item, "eventVersion": "9.9"}).mark for item in samples]
        assert len(set(marks)) == len(marks)
    assert one(bridged(sequencer=None)).mark != one({**bridged(sequencer=None), "id": "other"}).mark


sequencers = st.sampled_from(["", "f", "10", "0F", "AB" * 8, "ab" * 8, "cd" * 9, packed(5, 5), packed(70, 1), "z"])
makers = st.sampled_from([aws, bridged, minio, ceph])


@given(makers, makers, sequencers, sequencers)
def test_there_is_no_verdict_across_kinds_of_store(one_of: Any, other_of: Any, a: str, b: str) -> None:
    kinds = [make.__name__.replace("bridged", "aws") for make in (one_of, other_of)]
    assume(kinds[0] != kinds[1])
    first, second = one(one_of(sequencer=a)).version, one(other_of(sequencer=b)).version
    assert not first.is_older_than(second)
    assert not first.is_older_than(ContentVersion())


@given(st.lists(st.tuples(makers, sequencers), min_size=3, max_size=3))
def test_older_is_a_strict_partial_order_of_what_is_read(makes: list[tuple[Any, str]]) -> None:
    a, b, c = (one(make(sequencer=sequencer)).version for make, sequencer in makes)
    assert not a.is_older_than(a)
    assert not (a.is_older_than(b) and b.is_older_than(a))
    assert not (a.is_older_than(b) and b.is_older_than(c)) or a.is_older_than(c)


@given(
    st.integers(1, 32).flatmap(lambda n: st.lists(st.integers(0, 16**n - 1).map(lambda i: f"{i:0{n}x}"), min_size=2))
)
def test_the_order_of_aws_sequencers_is_that_of_the_numbers(texts: list[str]) -> None:
    read = [one(aws(sequencer=text.upper())).version for text in texts]
    for (a, x), (b, y) in permutations(zip(texts, read, strict=True), 2):
        assert x.is_older_than(y) == (int(a, 16) < int(b, 16))


GOODS = [
    {"Records": [aws(), minio(), ceph()]},
    {"Records": [aws("ObjectRemoved:Delete")], "EventName": "x", "Key": "y"},
    bridged(),
    {"Event": "s3:TestEvent"},
]


@given(noise)
@example(b'{"Records":[{"a":1e999}]}')
@example(b'{"a":"\\ud800","Records":[NaN]}')
def test_no_body_raises_anything(body: bytes) -> None:
    withstands(source(), body)


@given(mutated(GOODS))
def test_no_damage_to_a_good_body_raises_anything(body: bytes) -> None:
    withstands(source(), body)


@pytest.mark.parametrize(
    ("created", "restored"),
    [
        (aws(), aws("ObjectRestore:Completed")),
        (minio(), minio("s3:ObjectRestore:Completed")),
        (bridged(), bridged("Object Restore Completed")),
    ],
)
def test_a_restore_is_an_event_of_its_own_and_tells_nothing_of_content(
    created: dict[str, Any], restored: dict[str, Any]
) -> None:
    """MinIO stamps it with the upload's sequencer, and AWS may restore a version that is not the current one."""
    assert one(restored).mark != one(created).mark
    assert (one(restored).version, one(restored).size) == (ContentVersion(), None)
