from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.webhook.sources.fuzz import mutated, noise, withstands
from webhook.events import MAX_SIZE_BYTES, ContentVersion, EventKind, ObjectEvent
from webhook.sources import MAX_EVENTS, Batch
from webhook.sources.tigris import Tigris

STAMP = "0000a1b2c3d4e5f60001"


def event(name: str = "OBJECT_CREATED_PUT", **item: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1",
        "eventSource": "tigris",
        "eventName": name,
        "eventTime": "2023-05-15T10:30:00.000Z",
        "bucket": "my-bucket",
        "object": {"key": "path/to/myfile.txt", "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e", **item},
    }


def without(path: str) -> dict[str, Any]:
    sample = event()
    *folders, name = path.split(".")
    place = sample
    for folder in folders:
        place = place[folder]
    del place[name]
    return sample


def parse(*events: Any) -> Batch:
    return Tigris().parse(json.dumps({"events": events}).encode())


def one(sample: dict[str, Any]) -> ObjectEvent:
    batch = parse(sample)
    assert not batch.quarantined
    [read] = batch.events
    return read


def reason(sample: Any) -> str:
    """The reason for which an event is quarantined, between two that are not."""
    good, other = event(key="good"), event(key="other")
    batch = parse(good, sample, other)
    assert [read.key for read in batch.events] == ["good", "other"]
    [bad] = batch.quarantined
    assert bad.source == "tigris"
    assert json.loads(bad.raw) == sample
    return bad.reason


def test_the_vendors_own_example() -> None:
    read = one(event())
    assert (read.source, read.bucket, read.key, read.size) == ("tigris", "my-bucket", "path/to/myfile.txt", 1024)
    assert (read.kind, read.version.etag) == (EventKind.CREATED, "d41d8cd98f00b204e9800998ecf8427e")
    assert (read.version.modified, read.version.order) == (None, None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("OBJECT_CREATED_PUT", EventKind.CREATED),
        ("OBJECT_CREATED_MULTIPART", EventKind.CREATED),
        ("OBJECT_CREATED_COPY", EventKind.CREATED),
        ("OBJECT_CREATED_POST", EventKind.CREATED),
        ("OBJECT_CREATED_BY_SOMETHING_NEW", EventKind.CREATED),
        ("OBJECT_DELETED", EventKind.REMOVED),
        ("OBJECT_RENAME", EventKind.MOVED),
        ("OBJECT_TRANSITIONED", EventKind.IRRELEVANT),
    ],
)
def test_event_names(name: str, kind: EventKind) -> None:
    assert one(event(name)).kind is kind


def test_a_deletion_carries_size_and_etag() -> None:
    read = one(event("OBJECT_DELETED"))
    assert (read.size, read.version.etag) == (1024, "d41d8cd98f00b204e9800998ecf8427e")


@pytest.mark.parametrize("size", [0, 1, 3 * 2**30, 5 * 2**40, MAX_SIZE_BYTES])
def test_sizes_have_63_bits(size: int) -> None:
    assert one(event(size=size)).size == size


@pytest.mark.parametrize("field", ["size", "eTag"])
def test_what_may_be_missing_or_null(field: str) -> None:
    sample = event()
    sample["object"][field] = None
    assert one(without(f"object.{field}")).mark == one(sample).mark


def test_an_etag_comes_with_or_without_quotes_or_empty() -> None:
    assert one(event(eTag='"abc-2"')).version.etag == "abc-2"
    assert one(event(eTag="")).version.etag is None
    assert one(event(eTag='""')).version.etag is None


@pytest.mark.parametrize(
    "key",
    [
        "a+b %41.jpg",
        "été/写真/🏕️.jpg",
        "k" * 1024,
        "é" * 512,
        "🏕" * 256,
        "..a/b..",
        "a/...",
        "a//b",
        "/",
        ".hidden/x.",
        "a\u3000b",
        "a\u200db",
        "\u2028",
    ],
)
def test_keys_are_taken_as_they_are(key: str) -> None:
    assert one(event(key=key)).key == key


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "empty"),
        ("k" * 1025, "longer than 1024 bytes"),
        ("é" * 512 + "k", "longer than 1024 bytes"),
        ("🏕" * 256 + "k", "longer than 1024 bytes"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\x85b", "control"),
        ("..", "path segment"),
        (".", "path segment"),
        ("../a", "path segment"),
        ("a/../b", "path segment"),
        ("a/..", "path segment"),
        ("a/./b", "path segment"),
    ],
)
def test_keys_that_go_to_quarantine(key: str, why: str) -> None:
    assert why in reason(event(key=key))


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (without("object.key"), "key"),
        (without("object"), "object"),
        (without("bucket"), "bucket"),
        (without("eventName"), "eventName"),
        ({**event(), "object": None}, "object"),
        ({**event(), "object": []}, "object"),
        ({**event(), "bucket": ""}, "bucket"),
        ({**event(), "bucket": "b" * 256}, "bucket"),
        ({**event(), "bucket": "a\0"}, "bucket"),
        ({**event(), "bucket": 3}, "bucket"),
        ({**event(), "eventTime": 3}, "eventTime"),
        (event("OBJECT_EXPLODED"), "OBJECT_EXPLODED"),
        (event("object_created_put"), "object_created_put"),
        (event("\0" * 1000), "unknown event name"),
        (event(key=None), "key"),
        (event(key=7), "key"),
        (event(size=-1), "negative"),
        (event(size=2**63), "63 bits"),
        (event(size=2**64), "63 bits"),
        (event(size=10**400), "63 bits"),
        (event(size=1.5), "size"),
        (event(size="1024"), "size"),
        (event(eTag="e" * 201), "eTag"),
        (event(eTag="a\0"), "eTag"),
        (event(versionstamp="00"), "10 nor 12"),
        (event(versionstamp="00" * 11), "10 nor 12"),
        (event(versionstamp="00" * 13), "10 nor 12"),
        (event(versionstamp="zz" * 10), "hexadecimal"),
        (event(versionstamp=7), "versionstamp"),
        (event(lastModified="yesterday"), "lastModified"),
        (event(lastModified=10**30), "lastModified"),
        (event(lastModified="2026-02-30T00:00:00Z"), "lastModified"),
        (event(lastModified="9999-12-31T23:59:59-10:00"), "out of range"),
        (event(lastModified="0001-01-01T00:00:00+10:00"), "out of range"),
        (event(lastModified="1969-12-31T23:59:59Z"), "out of range"),
        (event(lastModified="9999-01-01T00:00:00Z"), "out of range"),
        (None, "null"),
        ([], "array"),
        ("text", "str"),
    ],
)
def test_events_that_go_to_quarantine_with_their_text(sample: Any, why: str) -> None:
    assert why in reason(sample)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "[" * 40 + "]" * 40])
def test_what_json_does_not_know_spoils_its_own_event_only(number: str) -> None:
    raw = json.dumps(event(size=7)).replace("7", number, 1)
    batch = Tigris().parse(f'{{"events": [{json.dumps(event())}, {raw}]}}'.encode())
    assert (len(batch.events), len(batch.quarantined)) == (1, 1)


@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00", "\\ud800x", "\\udc00\\ud800"])
def test_half_a_surrogate_pair_goes_to_quarantine(escape: str) -> None:
    for sample in (event(key="HERE"), event(eTag="HERE"), event("OBJECT_HERE")):
        raw = json.dumps(sample).replace("HERE", escape)
        batch = Tigris().parse(f'{{"events": [{raw}, {json.dumps(event())}]}}'.encode())
        assert len(batch.events) == 1
        [bad] = batch.quarantined
        assert escape.encode() in bad.raw
        assert json.loads(bad.raw) == json.loads(raw)


def test_the_key_of_a_surrogate_pair_is_whole() -> None:
    raw = json.dumps(event(key="🏕"))
    assert "\\ud83c" in raw
    assert one(json.loads(raw)).key == "🏕"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"events": null}',
        b'{"events": {}}',
        b'{"Events": []}',
        b'\xff\xfe{"events": []}',
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_notification_goes_to_quarantine_whole(body: bytes) -> None:
    batch = Tigris().parse(body)
    assert batch.events == []
    [bad] = batch.quarantined
    assert (bad.source, bad.raw) == ("tigris", body)
    assert bad.reason


def listed(*texts: bytes) -> bytes:
    return b'{"events": [' + b", ".join(texts) + b"]}"


GOOD = json.dumps(event()).encode()


@pytest.mark.parametrize(
    "bad",
    [
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"undefined",
        b'{"eventName": "OBJECT_CREATED_PUT", "bucket": "inbox", "object": {"key": "a\xffb"}}',
        b'{"eventName": "OBJECT_CREATED_PUT", "bucket": "inbox", "object": {"key": "\\ud800"}}',
        b'{"eventName": "OBJECT_CREATED_PUT", "bucket": "inbox", "object": {"key": "a", "eTag": "\xe9"}}',
        b'{"eventName": "OBJECT_CREATED_PUT", "bucket": "inb\xe9", "object": {"key": "a"}}',
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_only_the_event_that_cannot_be_read_goes_to_quarantine(bad: bytes) -> None:
    batch = Tigris().parse(listed(GOOD, bad, GOOD))
    assert batch.events == [one(event())] * 2
    assert [text.raw for text in batch.quarantined] == [bad]


@pytest.mark.parametrize(
    "odd",
    [b'"Caf\xe9"', b'"\\ud800"', b'"a\x01b"', b"NaN", b"9" * 10_000, b"1e999999", b'"\\u0000"', b'"\xed\xa0\x80"'],
)
def test_what_is_odd_in_a_field_that_is_not_used_does_no_harm(odd: bytes) -> None:
    text = GOOD[:-1] + b', "metadata": {"title": ' + odd + b"}}"
    assert Tigris().parse(listed(text)) == Batch([one(event())])


@pytest.mark.parametrize("rest", [b'{"eventName', b'{"eventName": "\\', b"]} x"])
def test_what_comes_before_the_end_of_a_body_that_is_cut_off_is_read(rest: bytes) -> None:
    batch = Tigris().parse(b'{"events": [' + GOOD + b"," * (not rest.startswith(b"]")) + rest)
    assert batch.events == [one(event())]
    assert [text.raw for text in batch.quarantined] == [rest.removeprefix(b"]} ")]


def test_two_lists_are_one() -> None:
    other = json.dumps(event("OBJECT_DELETED")).encode()
    both = Tigris().parse(b'{"events": [' + GOOD + b'], "events": [' + other + b"]}")
    assert both == parse(event(), event("OBJECT_DELETED"))


def test_one_event_without_a_list_is_read() -> None:
    """It is what quarantine keeps, and what is replayed."""
    assert Tigris().parse(GOOD) == parse(event())


def test_a_request_may_be_empty_or_full() -> None:
    assert parse() == Batch()
    many = parse(*[event()] * (2 * MAX_EVENTS + 1))
    assert [len(piece.events) for piece in many.pieces()] == [MAX_EVENTS, MAX_EVENTS, 1]
    unreadable = parse(*[{}] * (MAX_EVENTS + 1))
    assert [len(piece.quarantined) for piece in unreadable.pieces()] == [MAX_EVENTS, 1]
    assert list(Batch().pieces()) == [Batch()]


def test_unknown_fields_are_ignored() -> None:
    assert one({**event(contentType="image/jpeg"), "requestId": "1"}) == one(event())


def test_a_versionstamp_alone_identifies_but_does_not_order() -> None:
    read = one(event(versionstamp=STAMP))
    assert read.version.order is None
    assert read.mark == bytes.fromhex(STAMP) + b"\0\0"
    assert read.mark == one({**event(versionstamp=STAMP.upper()), "eventTime": None}).mark


def test_a_last_modified_from_the_future_is_taken_for_none() -> None:
    """It would make all that comes after it look old."""
    read = one(event(versionstamp=STAMP, lastModified=(datetime.now(UTC) + timedelta(days=2)).isoformat()))
    assert (read.version.modified, read.version.order) == (None, None)
    soon = datetime.now(UTC) + timedelta(minutes=5)
    assert one(event(lastModified=soon.isoformat())).version.modified == soon


def test_contents_are_ordered_by_last_modified_and_then_by_versionstamp() -> None:
    samples = [
        event(versionstamp="ff" * 10, lastModified="1970-01-01T00:00:00Z"),
        event(versionstamp="00" * 9 + "09", lastModified="2026-05-15T10:30:00Z"),
        event(versionstamp="00" * 9 + "0a", lastModified="2026-05-15T10:30:00Z"),
        event(versionstamp="00" * 9 + "0a0001", lastModified="2026-05-15T10:30:00Z"),
        event(versionstamp="00" * 10, lastModified="2026-05-15T10:30:00.000001Z"),
    ]
    read = [one(item).version for item in samples]
    assert [[a.is_older_than(b) for b in read] for a in read] == [[j > i for j in range(5)] for i in range(5)]


@pytest.mark.parametrize(
    "text", ["2026-05-15T10:30:00Z", "2026-05-15T10:30:00.000", "2026-05-15T12:30:00+02:00", "2026-05-15 10:30:00Z"]
)
def test_last_modified_is_in_utc_unless_it_says_otherwise(text: str) -> None:
    modified = one(event(lastModified=text)).version.modified
    assert modified == datetime(2026, 5, 15, 10, 30, tzinfo=UTC)
    assert modified.utcoffset() == timedelta(0)


def test_a_redelivery_has_the_same_mark_and_another_event_another() -> None:
    samples = [
        event(),
        {**event(), "eventTime": "2023-05-15T10:30:00.001Z"},
        event("OBJECT_DELETED"),
        event("OBJECT_CREATED_COPY"),
        event(eTag="other"),
        event(size=1025),
        event(lastModified="2026-05-15T10:30:00Z"),
        event(versionstamp=STAMP),
    ]
    marks = [one(item).mark for item in samples]
    assert marks == [one(item).mark for item in samples]
    assert len(set(marks)) == len(marks)


json_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
json_branches = st.lists(json_leaves, max_size=4) | st.dictionaries(st.text(), json_leaves, max_size=4)
json_values = json_leaves | json_branches | st.lists(json_branches, max_size=2)
texts = st.text() | st.sampled_from(["OBJECT_CREATED_PUT", "OBJECT_DELETED", "2026-05-15T10:30:00Z", "ab" * 10])
mutations = st.fixed_dictionaries(
    {},
    optional={
        "eventName": texts | json_values,
        "bucket": texts | json_values,
        "eventTime": texts | json_values,
        "object": json_values
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("key", "size", "eTag", "lastModified", "versionstamp"), texts | json_values),
        ),
    },
)


@given(st.lists(mutations | json_values, max_size=5))
def test_every_event_of_an_envelope_is_read_or_quarantined(mutated: list[Any]) -> None:
    samples = [{**event(), **item} if isinstance(item, dict) else item for item in mutated]
    batch = parse(*samples)
    assert len(batch.events) + len(batch.quarantined) == len(samples)
    for read in batch.events:
        assert 1 <= len(read.key.encode()) <= 1024


@given(noise)
@example(b'{"events":[{"a":1e999}]}')
def test_no_body_raises_anything(body: bytes) -> None:
    withstands(Tigris(), body)


@given(mutated([{"events": [event(), event(versionstamp=STAMP, lastModified="2026-05-15T10:30:00Z")]}]))
def test_no_damage_to_a_good_body_raises_anything(body: bytes) -> None:
    withstands(Tigris(), body)


def test_a_rename_proves_nothing_by_its_last_modified() -> None:
    """The file may be older than the one that had its new name before."""
    stamped = {"lastModified": "2020-01-01T00:00:00Z", "versionstamp": "00" * 10}
    assert one(event("OBJECT_RENAME", **stamped)).version == ContentVersion()
    assert one(event("OBJECT_CREATED_COPY", **stamped)).version.order is not None
