"""Parses notifications into events and quarantined texts: one module for each kind of store.

A source refuses nothing: what it cannot read goes to quarantine with its raw text and a reason, and the rest goes on,
also where the body is not the source's envelope, or no JSON at all. Some senders (Ceph, MinIO) send a notification that
is refused again and again, for ever, and everything behind it waits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec

from webhook.events import MAX_ETAG_CHARACTERS, MAX_KEY_BYTES, MAX_SIZE_BYTES, ObjectEvent, Quarantined, UnreadableEvent
from webhook.sources.raw_json import bytes_of, forgiving_value, take_apart, text_of

Decoded = TypeVar("Decoded")

MAX_EVENTS = 10_000
"""Most events that are written at once. A body of 8 MiB holds about 40,000 of the shortest; no store sends so many."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of decoding: not this JSON, not UTF-8, nested too deeply."""
_DOTS = frozenset({".", ".."})


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one request, and its texts that could not be read."""

    events: list[ObjectEvent] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)

    def pieces(self) -> Iterator[Batch]:
        """Split it into batches of at most ``MAX_EVENTS`` events and as many texts; at least one batch."""
        for start in range(0, max(len(self.events), len(self.quarantined), 1), MAX_EVENTS):
            piece = slice(start, start + MAX_EVENTS)
            yield Batch(self.events[piece], self.quarantined[piece])


class _ListedEvents(msgspec.Struct):
    events: list[msgspec.Raw]


_decode_listed = msgspec.json.Decoder(_ListedEvents).decode


class Source(Protocol):
    """Parses one kind of store's notifications."""

    name: str
    secret_in_url: bool
    """Whether a secret may come as the query parameter ``token``: some stores cannot send a header."""
    signature_header: str | None
    """The header, in lower case, in which the store signs a body with a secret. None: this store signs nothing."""

    def parse(self, body: bytes) -> Batch:
        """Parse a request body, or a text that quarantine kept, into events and quarantine. Raises nothing."""
        ...

    def event(self, raw: bytes) -> ObjectEvent:
        """Parse one event, whose text quarantine keeps. Raises UnreadableEvent, for any bytes nothing else."""
        ...


def read_all(source: Source, raws: Iterable[bytes]) -> Batch:
    """Parse each event by itself: one that cannot be read never spoils another."""
    batch = Batch()
    for raw in raws:
        try:
            batch.events.append(source.event(raw))
        except UnreadableEvent as error:
            batch.quarantined.append(Quarantined(source.name, str(error) or type(error).__name__, bytes(raw)))
    return batch


def listed_events(body: bytes) -> Sequence[bytes]:
    """Return the text of each event of ``{"events": […]}``; the body itself where it is no such list."""
    if body.count(b'"events"') < 2:  # of two lists a strict parser would take the last
        with contextlib.suppress(*UNREADABLE):
            return _decode_listed(body).events
    split = split_list(body, "events")
    return [body] if split is None else split[0]


def split_list(body: bytes, name: str) -> tuple[list[bytes], dict[str, str]] | None:
    """Split a body by the forgiving reading: the text of each event of the list, and of each other member's value.

    What follows a fault is the last "event", which nobody can read. None where there is no such list.
    """
    envelope = take_apart(text_of(body), name)
    if envelope.elements is None:
        return None
    rest = [envelope.rest] if envelope.rest else []
    return [bytes_of(text) for text in (*envelope.elements, *rest)], envelope.values


def decoded(raw: bytes, kind: type[Decoded], strictly: Callable[[bytes], Decoded]) -> Decoded:
    """Decode one event strictly, or by the forgiving reading where that fails. Raises UnreadableEvent.

    So a fault in a field that is not used, such as a title in the user's metadata, spoils nothing.
    """
    try:
        return strictly(raw)
    except UNREADABLE as error:
        why = str(error) or type(error).__name__
    try:
        return msgspec.convert(forgiving_value(bytes(raw)), kind)
    except msgspec.ValidationError as error:
        raise UnreadableEvent(str(error)) from None
    except (ValueError, RecursionError):
        raise UnreadableEvent(why) from None


def checked_bucket(name: str) -> str:
    """Return the bucket's name if it can be one. Raises UnreadableEvent."""
    if not 1 <= len(name) <= 255 or not name.isprintable():
        raise UnreadableEvent("the bucket's name is empty, too long or holds control characters")
    return name


def checked_key(key: str) -> str:
    """Return the key if an object can have it and a path can be made of it. Raises UnreadableEvent."""
    if not key:
        raise UnreadableEvent("the key is empty")
    if len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        raise UnreadableEvent(f"the key is longer than {MAX_KEY_BYTES} bytes")
    if not key.isprintable():
        if any(0xD800 <= ord(c) < 0xE000 for c in key):
            raise UnreadableEvent("the key is not UTF-8")
        if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in key):
            raise UnreadableEvent("the key holds control characters")
    if ("./" in key or key.endswith(".")) and not _DOTS.isdisjoint(key.split("/")):
        # HTTP clients on the way normalise such a path, so neither the object nor its results can be fetched by it.
        raise UnreadableEvent("the key has '.' or '..' as a path segment")
    return key


def checked_size(size: int | None) -> int | None:
    """Return the size in bytes if it is one. Raises UnreadableEvent."""
    if size is not None and not 0 <= size <= MAX_SIZE_BYTES:
        raise UnreadableEvent("the size is negative or has more than 63 bits")
    return size


def checked_etag(etag: str | None) -> str | None:
    """Return the ETag without its quotes; None where the event has none. Raises UnreadableEvent."""
    if not etag:
        return None
    if len(etag) > MAX_ETAG_CHARACTERS or not etag.isprintable():
        raise UnreadableEvent("the eTag is too long or holds control characters")
    return etag.strip('"') or None
