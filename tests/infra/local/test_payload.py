from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

from infra.local.payload import Change, EventName, HubEvent, body

CHANGE = Change(
    EventName.PUT,
    "my-bucket",
    "path/to/myfile.txt",
    1024,
    "d41d8cd98f00b204e9800998ecf8427e",
    datetime(2023, 5, 15, 10, 29, 59, 123_456, tzinfo=UTC),
)
EVENT = HubEvent(CHANGE, bytes(range(10)), datetime(2023, 5, 15, 10, 30, tzinfo=UTC))

DOCUMENTED = """
{"events": [{"eventVersion": "1", "eventSource": "tigris", "eventName": "OBJECT_CREATED_PUT",
             "eventTime": "2023-05-15T10:30:00.000Z", "bucket": "my-bucket",
             "object": {"key": "path/to/myfile.txt", "size": 1024,
                        "eTag": "d41d8cd98f00b204e9800998ecf8427e"}}]}
"""


def test_an_event_is_word_for_word_what_tigris_documents() -> None:
    assert json.loads(body([EVENT])) == json.loads(DOCUMENTED)
    assert [*json.loads(body([EVENT]))["events"][0]] == [*json.loads(DOCUMENTED)["events"][0]]


def test_stamps_are_added_to_the_object_and_to_nothing_else() -> None:
    expected = json.loads(DOCUMENTED)
    expected["events"][0]["object"] |= {
        "versionstamp": "00010203040506070809",
        "lastModified": "2023-05-15T10:29:59.123Z",
    }
    assert json.loads(body([EVENT], stamps=True)) == expected


def test_times_are_utc_whatever_zone_they_come_in() -> None:
    elsewhere = datetime(2023, 5, 15, 12, 30, tzinfo=timezone(timedelta(hours=2)))
    assert body([HubEvent(CHANGE, bytes(10), elsewhere)]) == body([EVENT])


def test_keys_are_written_as_utf_8() -> None:
    named = Change(EventName.PUT, "b", "a b+c%20d/😀.jpg", 1, "e", CHANGE.modified)
    assert '"a b+c%20d/😀.jpg"'.encode() in body([HubEvent(named, bytes(10), EVENT.received_at)])


def test_a_batch_keeps_its_order() -> None:
    events = [
        HubEvent(Change(EventName.PUT, "b", str(n), 1, "e", CHANGE.modified), bytes(10), EVENT.received_at)
        for n in range(5)
    ]
    assert [event["object"]["key"] for event in json.loads(body(events))["events"]] == [
        "0",
        "1",
        "2",
        "3",
        "4",
    ]
