"""One file a store: a notification request becomes events and quarantine.

A source never refuses a whole batch for one bad event: what it cannot read goes to quarantine with its raw text and a
reason, and the rest goes on. Only a body that is not the source's envelope at all is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from webhook.events import MAX_ETAG_CHARACTERS, MAX_KEY_BYTES, MAX_SIZE_BYTES, ObjectEvent

MAX_EVENTS = 10_000
"""Events in one request. A body of 8 MiB holds about 40,000 of the shortest: who sends so many is misconfigured."""
_DOTS = frozenset({".", ".."})


class MalformedBody(Exception):
    """The body is not what this source sends. Nothing of it was taken."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One event that could not be read."""

    source: str
    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request said."""

    events: list[ObjectEvent] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)


class Source(Protocol):
    """Reads one store's notifications."""

    name: str

    def parse(self, body: bytes) -> Batch:
        """Turn a request body into events and quarantine. Raises MalformedBody."""
        ...


class BadEvent(ValueError):
    """Why one event goes to quarantine."""


def checked_key(key: str) -> str:
    """The key, if an object can have it and a path can be made of it. Raises BadEvent."""
    if not key:
        raise BadEvent("the key is empty")
    if len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        raise BadEvent(f"the key is longer than {MAX_KEY_BYTES} bytes")
    if not key.isprintable() and any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in key):
        raise BadEvent("the key holds control characters")
    if ("./" in key or key.endswith(".")) and not _DOTS.isdisjoint(key.split("/")):
        # HTTP clients on the way normalise such a path, so neither the object nor its results can be fetched by it.
        raise BadEvent("the key has '.' or '..' as a path segment")
    return key


def checked_size(size: int | None) -> int | None:
    """The size in bytes, if it is one. Raises BadEvent."""
    if size is not None and not 0 <= size <= MAX_SIZE_BYTES:
        raise BadEvent("the size is negative or has more than 63 bits")
    return size


def checked_etag(etag: str | None) -> str | None:
    """The ETag without its quotes; None where the event has none. Raises BadEvent."""
    if not etag:
        return None
    if len(etag) > MAX_ETAG_CHARACTERS or not etag.isprintable():
        raise BadEvent("the eTag is too long or holds control characters")
    return etag.strip('"') or None
