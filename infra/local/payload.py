"""Encodes events in the notification format of Tigris.

Field by field as Tigris documents its object notifications. ``object.versionstamp`` and
``object.lastModified`` are not sent by Tigris today: they are sent only with ``stamps``, to try a receiver that can use
them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

VERSIONSTAMP_BYTES = 10
"""As in FoundationDB: 8 of the commit version, 2 of the order within the commit, big-endian."""


class EventName(StrEnum):
    """The kind of a change."""

    PUT = "OBJECT_CREATED_PUT"
    MULTIPART = "OBJECT_CREATED_MULTIPART"
    COPY = "OBJECT_CREATED_COPY"
    POST = "OBJECT_CREATED_POST"
    """Undocumented, though a public consumer handles it: a receiver has to match ``OBJECT_CREATED_*``."""
    RENAME = "OBJECT_RENAME"
    """Its payload is undocumented. Here: the new key alone."""
    DELETED = "OBJECT_DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """A committed change of an object, with the state of the object after it."""

    name: EventName
    bucket: str
    key: str
    size: int
    """Bytes; for a deletion, of the deleted object."""
    etag: str
    """Without quotes; for a deletion, of the deleted object."""
    modified: datetime
    """Last-Modified, or when it was deleted. UTC, microseconds."""


@dataclass(frozen=True, slots=True)
class HubEvent:
    """A change with its place in the order of the hub."""

    change: Change
    versionstamp: bytes
    received_at: datetime
    """``eventTime``: when the change reached the hub. It does not order changes."""


def body(events: Iterable[HubEvent], *, stamps: bool = False) -> bytes:
    """The body of one notification request: JSON, UTF-8."""
    return json.dumps({"events": [_event(event, stamps) for event in events]}, ensure_ascii=False).encode()


def _event(event: HubEvent, stamps: bool) -> dict[str, object]:
    return {
        "eventVersion": "1",
        "eventSource": "tigris",
        "eventName": event.change.name.value,
        "eventTime": _time(event.received_at),
        "bucket": event.change.bucket,
        "object": _object(event, stamps),
    }


def _object(event: HubEvent, stamps: bool) -> dict[str, object]:
    change = event.change
    described: dict[str, object] = {"key": change.key, "size": change.size, "eTag": change.etag}
    if stamps:
        described |= {"versionstamp": event.versionstamp.hex(), "lastModified": _time(change.modified)}
    return described


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
