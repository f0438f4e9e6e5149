"""What a store says about an object, and what is newer than what.

An event is a hint that something changed, never the truth. It is dropped unread only where it is the very delivery
seen before (same ``mark``) or where its source's own order proves it old (``ContentVersion`` below). Everything else is
settled by asking the store.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

MAX_KEY_BYTES = 1024
"""S3's limit on a key, in UTF-8."""
MAX_SIZE_BYTES = 2**63 - 1
MAX_ETAG_CHARACTERS = 200

_LATEST = timedelta(days=1)
"""How far ahead of this clock a Last-Modified is believed."""


class EventKind(enum.StrEnum):
    """What is to be done about an event."""

    CREATED = "created"
    """There is new content: fetch it."""
    REMOVED = "removed"
    """It may be gone: ask the store whether it is."""
    MOVED = "moved"
    """It was renamed, from or to this key: ask the store which."""
    IRRELEVANT = "irrelevant"
    """Nothing about the content changed: a storage class, tags."""


class EventOrder(msgspec.Struct, frozen=True, gc=False):
    """A source's own order of an object's contents, encoded so that comparing bytes compares contents.

    Only two orders of one scheme compare; a source whose values are sometimes not comparable names a scheme for each
    comparable set. A source whose values are inexact gives an interval: what it names may truly lie anywhere from
    ``key`` to ``latest``, so only what lies wholly before another is older.
    """

    scheme: str
    key: bytes
    latest: bytes | None = None
    """None: exactly at ``key``."""

    def is_before(self, other: EventOrder) -> bool:
        """Whether it is proven to come before. Intervals are ordered strictly and partially (Fishburn, 1970)."""
        return self.scheme == other.scheme and max(self.key, self.latest or b"") < other.key


class ContentVersion(msgspec.Struct, frozen=True, gc=False):
    """One content of an object, as far as it is known."""

    etag: str | None = None
    modified: datetime | None = None
    order: EventOrder | None = None

    def is_older_than(self, other: ContentVersion) -> bool:
        """Whether it is proven that this content is older: no verdict (False both ways) is the usual answer.

        Where either has an order, only two orders of one scheme give a verdict. Otherwise Last-Modified does, where
        both have it and differ by more than the whole seconds of HTTP hide. A strict partial order: were order and
        Last-Modified to answer for each other, three versions could each be older than the next.
        """
        mine, theirs = self.order, other.order
        if mine is not None or theirs is not None:
            return mine is not None and theirs is not None and mine.is_before(theirs)
        if self.modified is None or other.modified is None:
            return False
        return self.modified < other.modified.replace(microsecond=0)


class ObjectEvent(msgspec.Struct, frozen=True, gc=False):
    """One hint about one object."""

    source: str
    bucket: str
    key: str
    kind: EventKind
    version: ContentVersion
    size: int | None
    """Bytes."""
    mark: bytes
    """Equal for two deliveries of one event, different for two events of one key."""


def mark_of(*parts: object) -> bytes:
    """The mark of an event that carries no identity: a digest of all that it says."""
    # repr() keeps parts with any content apart, and None from "None".
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).digest()


def utc(moment: datetime) -> datetime:
    """The same moment in UTC, which is also taken for the zone where none is given.

    Raises:
        OverflowError: before 1970 or after 9998. No object was written then, and PostgreSQL's driver takes the ends of
            Python's calendar for infinity.

    """
    there = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if not 1970 <= there.year <= 9998:
        raise OverflowError(f"{there.year} is no year in which an object was written")
    return there


def believed(moment: datetime | None) -> datetime | None:
    """A Last-Modified in UTC, or None where there is none that can be believed.

    One further ahead than a day would make everything that comes after it look old. Raises OverflowError as ``utc``.
    """
    if moment is None:
        return None
    there = utc(moment)
    return there if there <= datetime.now(UTC) + _LATEST else None


def merge(first: ObjectEvent, second: ObjectEvent) -> ObjectEvent:
    """One hint that claims no more than both together: for two events that cannot be ordered.

    What only one of them could prove is dropped, so that the merged hint is neither taken for a duplicate of one, nor
    for older than what only the other is older than, nor for the news of a content or of a removal where the other
    tells of something else: then the store is asked which.
    """
    a, b = first.version, second.version
    order = _hull(a.order, b.order)
    created = first.kind is second.kind is EventKind.CREATED
    return msgspec.structs.replace(
        second,
        kind=first.kind if first.kind is second.kind else EventKind.MOVED,
        version=ContentVersion(
            etag=a.etag if created and a.etag == b.etag else None,
            modified=_later(a.modified, b.modified) if order or a.order is b.order else None,
            order=order,
        ),
        size=first.size if first.size == second.size else None,
        mark=mark_of(first.mark, second.mark),
    )


def _hull(a: EventOrder | None, b: EventOrder | None) -> EventOrder | None:
    """The interval that holds both: before another order only where both are, and after it only where both are."""
    if a is None or b is None or a.scheme != b.scheme:
        return None
    key, latest = min(a.key, b.key), max(a.latest or a.key, b.latest or b.key)
    return EventOrder(a.scheme, key, latest if latest > key else None)


def _later(a: datetime | None, b: datetime | None) -> datetime | None:
    return max(a, b) if a and b else None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One event that could not be read."""

    source: str
    reason: str
    raw: bytes


class UnreadableEvent(ValueError):
    """Why one event goes to quarantine."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object in a listing."""

    key: str
    etag: str
    modified: datetime
    size: int
    """Bytes."""
