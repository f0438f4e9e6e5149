"""Parses Backblaze B2 event notifications: ``{"events": [{"eventType": "b2:ObjectCreated:Upload", …}]}``.

The events prove no order: they carry neither ETag nor Last-Modified, ``eventTimestamp`` is the event's time, and
nothing documents that the ids of versions grow. So each is a hint, and the store is asked. ``eventId`` tells events
apart. Names of objects are taken as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from webhook.events import ContentVersion, EventKind, ObjectEvent, UnreadableEvent, mark_of
from webhook.sources import (
    UNREADABLE,
    Batch,
    checked_bucket,
    checked_key,
    checked_size,
    decoded,
    listed_events,
    read_all,
)

NAME: Final = "b2"

_TEST = "b2:TestEvent"
_TEXT_CHARACTERS = 1024
"""Longest id of an event or of a version."""

_KINDS = (
    # The deletion of one version, or of a hide marker, may leave other content, current again: the store knows.
    ("b2:ObjectCreated:", EventKind.CREATED),
    ("b2:ObjectDeleted:", EventKind.REMOVED),
    ("b2:HideMarkerCreated:", EventKind.REMOVED),
    ("b2:MultipartUploadCreated:", EventKind.IRRELEVANT),
)


class _B2Event(msgspec.Struct):
    eventType: str  # noqa: N815 - the wire's name
    bucketName: str  # noqa: N815
    objectName: str  # noqa: N815
    objectSize: int | None = None  # noqa: N815
    objectVersionId: str | None = None  # noqa: N815
    eventId: str | None = None  # noqa: N815
    eventTimestamp: int | None = None  # noqa: N815


class _B2EventType(msgspec.Struct):
    """Tells a test, which names no object, from an event."""

    eventType: str  # noqa: N815


_decode_type = msgspec.json.Decoder(_B2EventType).decode
_decode_event = msgspec.json.Decoder(_B2Event).decode


class B2:
    """Parses B2 event notifications."""

    name = NAME
    secret_in_url = False
    signature_header: str | None = "x-bz-event-notification-signature"

    def parse(self, body: bytes) -> Batch:
        """Parse a request body into events and quarantine. The console's test is neither."""
        return read_all(self, _without_tests(listed_events(body)))

    def event(self, raw: bytes) -> ObjectEvent:
        """Parse one event object. Raises UnreadableEvent."""
        return _event(decoded(raw, _B2Event, _decode_event))


def _without_tests(raws: Sequence[bytes]) -> Iterator[bytes]:
    for raw in raws:
        with contextlib.suppress(*UNREADABLE):
            if _decode_type(raw).eventType == _TEST:
                continue
        yield raw


def _event(event: _B2Event) -> ObjectEvent:
    kind = _kind(event.eventType)
    return ObjectEvent(
        source=NAME,
        bucket=checked_bucket(event.bucketName),
        key=checked_key(event.objectName),
        kind=kind,
        version=ContentVersion(),
        # Of a removal it is the size of one version, or of a hide marker: never that of what is current.
        size=checked_size(event.objectSize) if kind is EventKind.CREATED else None,
        mark=_mark(event),
    )


def _kind(name: str) -> EventKind:
    for beginning, kind in _KINDS:
        if name.startswith(beginning):
            return kind
    raise UnreadableEvent(f"unknown eventType {name[:100]!r}")


def _mark(event: _B2Event) -> bytes:
    """The mark of an event: by its id where it has one, which B2 calls a primary key."""
    version_id = _checked_text("objectVersionId", event.objectVersionId)
    if event_id := _checked_text("eventId", event.eventId):
        return mark_of(NAME, event_id)
    return mark_of(NAME, event.eventType, version_id, event.eventTimestamp, event.objectSize)


def _checked_text(name: str, text: str | None) -> str:
    if text is not None and len(text) > _TEXT_CHARACTERS:
        raise UnreadableEvent(f"the {name} is longer than {_TEXT_CHARACTERS} characters")
    return text or ""
