"""What the hub says of a change, in the words of Tigris.

Field by field as Tigris documents its object notifications. ``object.versionstamp`` and
``object.lastModified`` are not on its wire today: they are sent only when asked for, to try a receiver that
can use them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

VERSIONSTAMP_BYTES = 10
"""As FoundationDB has it: 8 of the commit version, 2 of the order within the commit, big-endian."""


class EventName(StrEnum):
    """What became of an object."""

    PUT = "OBJECT_CREATED_PUT"
    MULTIPART = "OBJECT_CREATED_MULTIPART"
    COPY = "OBJECT_CREATED_COPY"
    POST = "OBJECT_CREATED_POST"
    """Undocumented, though a public consumer handles it: a receiver has to match ``OBJECT_CREATED_*``."""
    RENAME = "OBJECT_RENAME"
    """Its payload is undocumented. Here: the new key, and no word of the old one."""
    DELETED = "OBJECT_DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change of one object, as the store itself has it afterwards."""

    name: EventName
    bucket: str
    key: str
    size: int
    """Bytes; of what was deleted for a deletion."""
    etag: str
    """Without quotes; of what was deleted for a deletion."""
    modified: datetime
    """Last-Modified, or when it was deleted. UTC, microseconds."""


@dataclass(frozen=True, slots=True)
class HubEvent:
    """A change that the hub has heard of."""

    change: Change
    versionstamp: bytes
    heard: datetime
    """``eventTime``: when the hub learned of the change, which is no order of changes."""


def body(events: Iterable[HubEvent], *, stamps: bool = False) -> bytes:
    """The body of one notification request: JSON, UTF-8."""
    return json.dumps({"events": [_event(event, stamps) for event in events]}, ensure_ascii=False).encode()


def _event(event: HubEvent, stamps: bool) -> dict[str, object]:
    return {
        "eventVersion": "1",
        "eventSource": "tigris",
        "eventName": event.change.name.value,
        "eventTime": _time(event.heard),
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
