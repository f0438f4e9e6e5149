"""Parses Google Cloud Storage notifications as Pub/Sub pushes them: ``{"message": {"attributes": {…}, "data": …}}``.

One event a request. The attributes say what happened to which generation of which object; ``data`` holds the object's
metadata in base64, where the notification's payload format is ``JSON_API_V1``. A generation is one content of a key
and only ever grows; its metageneration counts changes of its metadata.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import Final

import msgspec

from webhook.events import ContentVersion, EventKind, EventOrder, ObjectEvent, UnreadableEvent, mark_of
from webhook.sources import (
    Batch,
    checked_bucket,
    checked_etag,
    checked_key,
    checked_size,
    decoded,
    read_all,
)

NAME: Final = "gcs"

_MD5_BYTES = 16
_LAST = 2**64 - 1
"""Takes the place of a removal's metageneration: it comes after all changes of the generation's metadata."""

_KINDS = {
    "OBJECT_FINALIZE": EventKind.CREATED,
    "OBJECT_DELETE": EventKind.REMOVED,
    "OBJECT_ARCHIVE": EventKind.REMOVED,
    "OBJECT_METADATA_UPDATE": EventKind.IRRELEVANT,
}


class _PubSubMessage(msgspec.Struct):
    attributes: dict[str, str]
    data: str | None = None


class _Push(msgspec.Struct):
    message: _PubSubMessage


class _Metadata(msgspec.Struct):
    """Fields of the JSON API's object resource that are used. Its 64-bit numbers are texts."""

    size: int | str | None = None
    metageneration: int | str | None = None
    md5Hash: str | None = None  # noqa: N815 - the wire's name
    kmsKeyName: str | None = None  # noqa: N815
    componentCount: int | str | None = None  # noqa: N815


_decode_push = msgspec.json.Decoder(_Push).decode
_decode_metadata = msgspec.json.Decoder(_Metadata).decode
_is_number = re.compile(r"[0-9]{1,19}").fullmatch


class Gcs:
    """Parses pushes of Pub/Sub."""

    name = NAME
    secret_in_url = True
    signature_header: str | None = None

    def parse(self, body: bytes) -> Batch:
        """Parse a request body into events and quarantine."""
        return read_all(self, [body])

    def event(self, raw: bytes) -> ObjectEvent:
        """Parse the message of one push. Raises UnreadableEvent."""
        message = decoded(raw, _Push, _decode_push).message
        return _event(message.attributes, _metadata(message))


def _metadata(message: _PubSubMessage) -> _Metadata:
    """The metadata in the message's payload; empty where it has none. Raises UnreadableEvent."""
    if message.attributes.get("payloadFormat") != "JSON_API_V1" or not message.data:
        return _Metadata()
    return decoded(_unbase64("data", message.data), _Metadata, _decode_metadata)


def _event(attributes: dict[str, str], metadata: _Metadata) -> ObjectEvent:
    name = _attribute(attributes, "eventType")
    kind = _kind(name, attributes)
    generation = _checked_number("generation", _attribute(attributes, "objectGeneration"))
    metageneration = _checked_number("metageneration", metadata.metageneration)
    return ObjectEvent(
        source=NAME,
        bucket=checked_bucket(_attribute(attributes, "bucketId")),
        key=checked_key(_attribute(attributes, "objectId")),
        kind=kind,
        version=ContentVersion(_etag(metadata), None, _order(kind, generation, metageneration)),
        size=checked_size(_checked_number("size", metadata.size)),
        mark=mark_of(NAME, name, generation, metageneration if kind is EventKind.IRRELEVANT else None),
    )


def _kind(name: str, attributes: dict[str, str]) -> EventKind:
    try:
        kind = _KINDS[name]
    except KeyError:
        raise UnreadableEvent(f"unknown eventType {name[:100]!r}") from None
    if kind is EventKind.REMOVED and attributes.get("overwrittenByGeneration"):
        # Only older content was removed, to make room for newer content, which has an event of its own.
        return EventKind.IRRELEVANT
    return kind


def _order(kind: EventKind, generation: int | None, metageneration: int | None) -> EventOrder | None:
    """Generation first, then metageneration. A new generation's first one is 1, also where the payload is missing."""
    if generation is None:
        return None
    second = _LAST if kind is EventKind.REMOVED else metageneration or 1
    return EventOrder(NAME, generation.to_bytes(8, "big") + second.to_bytes(8, "big"))


def _etag(metadata: _Metadata) -> str | None:
    """The ETag that the S3-compatible API answers with: the content's MD5 in hexadecimal.

    Not for composite objects, which have no MD5, nor under keys of the customer, where it is something else. The
    metadata's own ``etag`` is the JSON API's and never seen there.
    """
    if not metadata.md5Hash or metadata.kmsKeyName or metadata.componentCount:
        return None
    digest = _unbase64("md5Hash", metadata.md5Hash)
    if len(digest) != _MD5_BYTES:
        raise UnreadableEvent("md5Hash has not 16 bytes")
    return checked_etag(digest.hex())


def _attribute(attributes: dict[str, str], name: str) -> str:
    try:
        return attributes[name]
    except KeyError:
        raise UnreadableEvent(f"the attribute {name} is missing: is this a notification of Cloud Storage?") from None


def _unbase64(name: str, text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableEvent(f"{name} is not base64") from None


def _checked_number(name: str, number: int | str | None) -> int | None:
    """A number of at most 63 bits, which is mostly written as text. Raises UnreadableEvent."""
    if isinstance(number, str):
        if not _is_number(number):
            raise UnreadableEvent(f"the {name} is no number")
        number = int(number)
    if number is not None and not 0 <= number < 2**63:
        raise UnreadableEvent(f"the {name} is negative or has more than 63 bits")
    return number
