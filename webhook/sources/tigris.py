"""Parses Tigris object notifications: ``{"events": [{"eventName": "OBJECT_CREATED_PUT", …}]}``.

The payload has neither Last-Modified nor versionstamp today, so most events are bare hints. Where an event carries
``object.lastModified`` or ``object.versionstamp``, they are used: the versionstamp says when the bucket's hub learned
of the change (same versionstamp: same delivery), Last-Modified when the content was written. A late region's old write
has a late versionstamp and an early Last-Modified, so a versionstamp alone never orders contents; together they do,
Last-Modified first.
"""

from __future__ import annotations

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
    Batch,
    checked_bucket,
    checked_etag,
    checked_key,
    checked_size,
    decoded,
    listed_events,
    read_all,
)

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


_decode_event = msgspec.json.Decoder(_Event).decode


class Tigris:
    """Parses Tigris notifications."""

    name = NAME
    secret_in_url = False
    signature_header: str | None = None

    def parse(self, body: bytes) -> Batch:
        """Parse a request body into events and quarantine."""
        return read_all(self, listed_events(body))

    def event(self, raw: bytes) -> ObjectEvent:
        """Parse one event object. Raises UnreadableEvent."""
        return _event(decoded(raw, _Event, _decode_event))


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
