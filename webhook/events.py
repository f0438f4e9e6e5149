"""Events of objects: their kinds, versions, order and identity.

An event is a hint that an object changed, never the truth. It is dropped only if it repeats the event recorded last
(same ``mark``) or is proven older (``ContentVersion.is_older_than``). In all other cases the store is
asked.
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
"""How far ahead of this clock a Last-Modified may be to be used."""


class EventKind(enum.StrEnum):
    """Kind of change that an event announces, and so what has to be done."""

    CREATED = "created"
    """New content: a worker processes the object."""
    REMOVED = "removed"
    """The object may be gone: the control plane checks."""
    MOVED = "moved"
    """The object was renamed from or to this key: the control plane checks which."""
    IRRELEVANT = "irrelevant"
    """The content did not change, but its storage class or tags, say: ignored."""


class EventOrder(msgspec.Struct, frozen=True, gc=False):
    """Place of a version in its source's order, encoded so that comparing bytes compares versions.

    Only two orders of one scheme compare; a source whose values are sometimes not comparable has a scheme for each
    comparable set. A source whose values are inexact gives an interval: the true value lies anywhere from ``key`` to
    ``latest``, so an interval is older than another only if it lies wholly before it.
    """

    scheme: str
    key: bytes
    latest: bytes | None = None
    """End of the interval. None: exactly ``key``."""

    def is_before(self, other: EventOrder) -> bool:
        """Whether this order is proven to come before the other one.

        Intervals have a strict partial order (Fishburn, 1970).
        """
        return self.scheme == other.scheme and max(self.key, self.latest or b"") < other.key


class ContentVersion(msgspec.Struct, frozen=True, gc=False):
    """One version of an object's content, with as much as its source gives."""

    etag: str | None = None
    modified: datetime | None = None
    order: EventOrder | None = None

    def is_older_than(self, other: ContentVersion) -> bool:
        """Whether this version is proven to be older; often neither of two versions is.

        Where either has an order, only two orders of one scheme are compared. Otherwise Last-Modified is, where both
        have it and differ by more than HTTP's whole seconds hide. This is a strict partial order: if Last-Modified
        stood in for a missing order, three versions could each be older than the next.
        """
        mine, theirs = self.order, other.order
        if mine is not None or theirs is not None:
            return mine is not None and theirs is not None and mine.is_before(theirs)
        if self.modified is None or other.modified is None:
            return False
        return self.modified < other.modified.replace(microsecond=0)


class ObjectEvent(msgspec.Struct, frozen=True, gc=False):
    """A store's message that one object may have changed."""

    source: str
    bucket: str
    key: str
    kind: EventKind
    version: ContentVersion
    size: int | None
    """Bytes."""
    mark: bytes
    """Identity: equal for two deliveries of one event, different for two events of one key."""


def mark_of(*parts: object) -> bytes:
    """Compute the mark of an event without an identity of its own: a digest of all its fields."""
    # repr() keeps the parts apart, and None from "None".
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).digest()


def utc(moment: datetime) -> datetime:
    """Convert a moment to UTC; one without a zone is taken as UTC.

    Raises:
        OverflowError: before 1970 or after 9998. No object was written then, and PostgreSQL's driver takes the ends of
            Python's calendar for infinity.

    """
    converted = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if not 1970 <= converted.year <= 9998:
        raise OverflowError(f"{converted.year} is no year in which an object was written")
    return converted


def plausible_modified(moment: datetime | None) -> datetime | None:
    """Convert a Last-Modified to UTC, or to None where it is missing or more than a day ahead.

    One far ahead would make all later events of the object look old. Raises OverflowError as ``utc`` does.
    """
    if moment is None:
        return None
    converted = utc(moment)
    return converted if converted <= datetime.now(UTC) + _LATEST else None


def merge(first: ObjectEvent, second: ObjectEvent) -> ObjectEvent:
    """Merge two events that cannot be ordered into one that claims no more than both prove.

    Fields that only one of them could prove are dropped. So the merged event is no duplicate of either, is older than a
    version only if both are, and is of kind ``moved``, which the control plane checks, where their kinds differ.
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
    """Return the smallest interval with both: it is before or after another order only where both are."""
    if a is None or b is None or a.scheme != b.scheme:
        return None
    key, latest = min(a.key, b.key), max(a.latest or a.key, b.latest or b.key)
    return EventOrder(a.scheme, key, latest if latest > key else None)


def _later(a: datetime | None, b: datetime | None) -> datetime | None:
    return max(a, b) if a and b else None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One event that could not be parsed, with its raw text and the reason."""

    source: str
    reason: str
    raw: bytes


class UnreadableEvent(ValueError):
    """An event cannot be parsed and goes to quarantine; the message is the reason."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing."""

    key: str
    etag: str
    modified: datetime
    size: int
    """Bytes."""
