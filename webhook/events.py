"""What a store says about an object, and what is newer than what.

An event is a hint that something changed, never the truth. It is dropped unread only where it is the very delivery
seen before (same ``mark``) or where its source's own order proves it old (``Version`` below). Everything else is
settled by asking the store.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

MAX_KEY_BYTES = 1024
"""S3's limit on a key, in UTF-8."""
MAX_SIZE_BYTES = 2**63 - 1
MAX_ETAG_CHARACTERS = 200


class Kind(enum.StrEnum):
    """What is to be done about an event."""

    CREATED = "created"
    """There is new content: fetch it."""
    REMOVED = "removed"
    """It may be gone: ask the store whether it is."""
    MOVED = "moved"
    """It was renamed, from or to this key: ask the store which."""
    IRRELEVANT = "irrelevant"
    """Nothing about the content changed: a storage class, tags."""


@dataclass(frozen=True, slots=True)
class Order:
    """A source's own order of an object's contents, encoded so that comparing bytes compares contents.

    Only two orders of one scheme compare; a source whose values are sometimes not comparable names a scheme for each
    comparable set.
    """

    scheme: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Version:
    """One content of an object, as far as it is known."""

    etag: str | None = None
    modified: datetime | None = None
    order: Order | None = None

    def is_older_than(self, other: Version) -> bool:
        """Whether it is proven that this content is older: no verdict (False both ways) is the usual answer.

        The source's order decides where both have one of the same scheme, Last-Modified where both have that. A strict
        partial order.
        """
        if self.order and other.order and self.order.scheme == other.order.scheme:
            return self.order.key < other.order.key
        if self.modified and other.modified:
            return self.modified < other.modified
        return False


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """One hint about one object."""

    source: str
    bucket: str
    key: str
    kind: Kind
    version: Version
    size: int | None
    """Bytes."""
    mark: bytes
    """Equal for two deliveries of one event, different for two events."""


def mark_of(*parts: object) -> bytes:
    """The mark of an event that carries no identity: a digest of all that it says."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=12).digest()


def merge(first: ObjectEvent, second: ObjectEvent) -> ObjectEvent:
    """One hint that claims no more than both together: for two events that cannot be ordered.

    What only one of them could prove is dropped, so that the merged hint is neither taken for a duplicate of one nor
    for older than what only the other is older than.
    """
    a, b = first.version, second.version
    return replace(
        second,
        version=Version(
            etag=a.etag if a.etag == b.etag else None,
            modified=max(a.modified, b.modified) if a.modified and b.modified else None,
            order=None,
        ),
        mark=mark_of(first.mark.hex(), second.mark.hex()),
    )
