"""Parses Tigris object notifications: ``{"events": [{"eventName": "OBJECT_CREATED_PUT", …}]}``.

The payload has neither Last-Modified nor versionstamp today, so most events are bare hints. Where an event carries
``object.lastModified`` or ``object.versionstamp``, they are used: the versionstamp says when the bucket's hub learned
of the change (same versionstamp: same delivery), Last-Modified when the content was written. A late region's old write
has a late versionstamp and an early Last-Modified, so a versionstamp alone never orders contents; together they do,
Last-Modified first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from webhook.events import (
    ContentVersion,
    EventKind,
    EventOrder,
    ObjectEvent,
    UnreadableEvent,
    mark_of,
    plausible_modified,
)
from webhook.sources import (
    MAX_EVENTS,
    UNREADABLE,
    Batch,
    MalformedBody,
    checked_bucket,
    checked_etag,
    checked_key,
    checked_number,
    checked_size,
    read_all,
)
from webhook.sources.raw_json import elements, members

NAME: Final = "tigris"

_STAMP_BYTES = (10, 12)  # FoundationDB: 8 commit version, 2 batch order; 12 with a user version
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_KINDS = {
    "OBJECT_DELETED": EventKind.REMOVED,
    "OBJECT_RENAME": EventKind.MOVED,
    "OBJECT_TRANSITIONED": EventKind.IRRELEVANT,
}


class _TigrisObject(msgspec.Struct):
    key: str
    size: int | None = None
    eTag: str | None = None  # noqa: N815 - the wire's name
    lastModified: datetime | None = None  # noqa: N815
    versionstamp: str | None = None


class _Event(msgspec.Struct):
    eventName: str  # noqa: N815
    bucket: str
    object: _TigrisObject
    eventTime: str | None = None  # noqa: N815


class _TigrisEnvelope(msgspec.Struct):
    events: list[msgspec.Raw]


_decode_envelope = msgspec.json.Decoder(_TigrisEnvelope).decode
_decode_event = msgspec.json.Decoder(_Event).decode


class Tigris:
    """Parses Tigris notifications."""

    name = NAME
    secret_in_url = False

    def parse(self, body: bytes) -> Batch:
        """Parse a request body into events and quarantine. Raises MalformedBody."""
        return read_all(self, _events_of(body))

    def event(self, raw: bytes) -> ObjectEvent:
        """Parse one event object. Raises UnreadableEvent."""
        try:
            return _event(_decode_event(raw))
        except UNREADABLE as error:
            raise UnreadableEvent(str(error) or type(error).__name__) from None


def _events_of(body: bytes) -> Sequence[bytes]:
    """The text of each event. Raises MalformedBody."""
    events: Sequence[bytes]
    try:
        text = body.decode()  # JSON is UTF-8, and the raw events are not looked into until each is read
        try:
            events = _decode_envelope(body).events
        except msgspec.DecodeError:
            events = _lenient_events(text)
    except (ValueError, RecursionError) as error:
        raise MalformedBody(f"not a Tigris notification: {error}") from None
    checked_number(events)
    return events


def _lenient_events(text: str) -> list[bytes]:
    """The events, also where one holds half a surrogate pair, NaN or the like, so that only that one is quarantined."""
    envelope = members(text)
    if "events" not in envelope:
        raise ValueError('there is no list "events"')
    return [event.encode() for event in elements(envelope["events"], MAX_EVENTS)]


def _event(event: _Event) -> ObjectEvent:
    item = event.object
    stamp = _stamp(item.versionstamp)
    modified = _modified(item.lastModified)
    etag = checked_etag(item.eTag)
    kind = _kind(event.eventName)
    # A renamed object may keep an old Last-Modified: that proves nothing about the name it has now.
    version = ContentVersion() if kind is EventKind.MOVED else ContentVersion(etag, modified, _order(modified, stamp))
    return ObjectEvent(
        source=NAME,
        bucket=checked_bucket(event.bucket),
        key=checked_key(item.key),
        kind=kind,
        version=version,
        size=checked_size(item.size),
        mark=stamp or mark_of(NAME, event.eventName, event.eventTime, etag, item.size, modified),
    )


def _kind(name: str) -> EventKind:
    if name.startswith("OBJECT_CREATED_"):
        return EventKind.CREATED
    try:
        return _KINDS[name]
    except KeyError:
        raise UnreadableEvent(f"unknown event name {name[:100]!r}") from None


def _modified(moment: datetime | None) -> datetime | None:
    try:
        return plausible_modified(moment)
    except OverflowError:
        raise UnreadableEvent("lastModified is out of range") from None


def _stamp(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        stamp = bytes.fromhex(text)
    except ValueError:
        raise UnreadableEvent("the versionstamp is not hexadecimal") from None
    if len(stamp) not in _STAMP_BYTES:
        raise UnreadableEvent("the versionstamp has neither 10 nor 12 bytes")
    return stamp.ljust(_STAMP_BYTES[1], b"\0")


def _order(modified: datetime | None, stamp: bytes | None) -> EventOrder | None:
    if modified is None or stamp is None:
        return None
    micros = (modified - _EPOCH) // timedelta(microseconds=1)
    return EventOrder(NAME, micros.to_bytes(8, "big") + stamp)
