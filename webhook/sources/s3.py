"""Parses S3 notifications of AWS, MinIO and Ceph: ``{"Records": [{"eventName": "ObjectCreated:Put", …}]}``.

Also events of Amazon EventBridge, one a request: ``{"detail-type": "Object Created", "detail": {…}}``.

They look alike and are not. The sender of a record (``eventSource``) decides how its key is encoded and what its
``sequencer`` means; each such reading is a ``_Dialect`` below. A sequencer is only about order: one that cannot be read
leaves a hint without order, which is fetched. ``eventTime`` is never order.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import unquote_plus

import msgspec

from webhook.events import MAX_KEY_BYTES, ContentVersion, EventKind, EventOrder, ObjectEvent, UnreadableEvent, mark_of
from webhook.sources import (
    UNREADABLE,
    Batch,
    checked_bucket,
    checked_etag,
    checked_key,
    checked_size,
    decoded,
    read_all,
    split_list,
)

NAME: Final = "s3"

CEPH_INEXACT_SECONDS = 60
"""A Ceph gateway reads its clock after the write: of racing writers the latest sequencer need not be the last one's."""
AHEAD_SECONDS = 60
"""A sequencer that is a clock's reading is believed up to so far ahead of ours.

One from the far future would make everything that comes after it look old.
"""
_TEXT_CHARACTERS = 1024
"""Longest sequencer, id of a version, or other text that only tells events apart."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS = 10**9
_RESTORED = frozenset({"ObjectRestore:Completed", "Object Restore Completed"})
"""An archived version can be read again. It is no new content, and maybe not the key's current one."""


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _S3Object(msgspec.Struct):
    key: str
    size: int | str | None = None
    eTag: str | None = None  # noqa: N815 - the wire's name
    versionId: str | None = None  # noqa: N815
    sequencer: str | None = None


class _Bucket(msgspec.Struct):
    name: str


class _Entity(msgspec.Struct):
    bucket: _Bucket
    object: _S3Object


class _Record(msgspec.Struct):
    eventSource: str  # noqa: N815
    eventName: str  # noqa: N815
    s3: _Entity
    eventTime: str | None = None  # noqa: N815


class _BridgedObject(msgspec.Struct):
    key: str
    size: int | str | None = None
    etag: str | None = None
    version_id: str | None = msgspec.field(name="version-id", default=None)
    sequencer: str | None = None


class _Detail(msgspec.Struct):
    bucket: _Bucket
    object: _BridgedObject


class _Bridged(msgspec.Struct):
    """An event of EventBridge."""

    detail_type: str = msgspec.field(name="detail-type")
    detail: _Detail
    source: str = "aws.s3"
    id: str | None = None


class _Named(msgspec.Struct):
    """Tells an event of EventBridge, and a message of SNS, from a record: empty for a record."""

    detail_type: object = msgspec.field(name="detail-type", default=msgspec.UNSET)
    Type: object = msgspec.UNSET


class _S3Envelope(msgspec.Struct):
    """The fields that tell kinds of body apart; empty where the body has none of that name."""

    Records: list[msgspec.Raw] | None = None
    Event: object = None


_decode_envelope = msgspec.json.Decoder(_S3Envelope).decode
_decode_record = msgspec.json.Decoder(_Record).decode
_decode_bridged = msgspec.json.Decoder(_Bridged).decode
_decode_name = msgspec.json.Decoder(_Named).decode


class S3:
    """Parses S3 notifications. ``now`` is a clock of seconds since 1970."""

    name = NAME
    secret_in_url = True
    signature_header: str | None = None

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now

    def parse(self, body: bytes) -> Batch:
        """Parse a request body into events and quarantine."""
        return read_all(self, _events_of(body))

    def event(self, raw: bytes) -> ObjectEvent:
        """Parse one record, or one event of EventBridge. Raises UnreadableEvent."""
        named = decoded(raw, _Named, _decode_name)
        if named.Type is not msgspec.UNSET:
            raise UnreadableEvent(
                "an SNS message without the header x-amz-sns-message-type: is it taken off on the way?"
            )
        if named.detail_type is not msgspec.UNSET:
            s3_event = _from_bridged(decoded(raw, _Bridged, _decode_bridged))
        else:
            s3_event = _from_record(decoded(raw, _Record, _decode_record))
        return _object_event(s3_event, int((self._now() + AHEAD_SECONDS) * _NANOS))


# ── envelopes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _events_of(body: bytes) -> Sequence[bytes]:
    """The text of each event; the body itself where it is no list of records, but maybe one event."""
    if body.count(b'"Records"') < 2:  # of two lists a strict parser would take the last
        with contextlib.suppress(*UNREADABLE):
            envelope = _decode_envelope(body)
            if envelope.Records is not None:
                return envelope.Records
            if envelope.Event == "s3:TestEvent":
                return []  # AWS asks whether the destination may be written to
    split = split_list(body, "Records")
    return [body] if split is None else split[0]


# ── dialects ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How one kind of store encodes keys and orders versions."""

    name: str
    key: Callable[[str], str]
    order: Callable[[str, int], EventOrder | None]
    """Takes the sequencer, and the latest nanosecond since 1970 that is believed of one that is a clock's reading."""


@dataclass(frozen=True, slots=True)
class _S3Event:
    """The fields that records and events of EventBridge have in common."""

    dialect: _Dialect
    name: str
    kind: EventKind
    bucket: str
    object: _S3Object
    identity: str | None
    """Tells this event from others of its key where there is no sequencer: a time or an id."""


def _from_record(record: _Record) -> _S3Event:
    try:
        dialect = _DIALECTS[record.eventSource]
    except KeyError:
        known = ", ".join(_DIALECTS)
        raise UnreadableEvent(f"unknown eventSource {record.eventSource[:100]!r}; known are {known}") from None
    name = record.eventName.removeprefix("s3:")
    return _S3Event(dialect, name, _kind(name), record.s3.bucket.name, record.s3.object, record.eventTime)


def _from_bridged(event: _Bridged) -> _S3Event:
    if event.source != "aws.s3":
        raise UnreadableEvent(f"an event of {event.source[:100]!r}, not of 'aws.s3'")
    try:
        kind = _BRIDGED_KINDS[event.detail_type]
    except KeyError:
        raise UnreadableEvent(f"unknown detail-type {event.detail_type[:100]!r}") from None
    bridged = event.detail.object
    item = _S3Object(bridged.key, bridged.size, bridged.etag, bridged.version_id, bridged.sequencer)
    return _S3Event(_BRIDGED, event.detail_type, kind, event.detail.bucket.name, item, event.id)


def _object_event(s3_event: _S3Event, believed_ns: int) -> ObjectEvent:
    item, dialect = s3_event.object, s3_event.dialect
    sequencer = _checked_text("sequencer", item.sequencer)
    version_id = _checked_text("version id", item.versionId)
    order = dialect.order(sequencer, believed_ns)
    if dialect is _MINIO and _removes_version(s3_event.name, version_id):
        order = None  # of the version that was removed: the last one left may be the oldest
    etag = checked_etag(item.eTag)
    restored = s3_event.name in _RESTORED
    version = ContentVersion() if restored else ContentVersion(etag, _modified(s3_event, order), order)
    return ObjectEvent(
        source=NAME,
        bucket=checked_bucket(s3_event.bucket),
        key=checked_key(dialect.key(item.key)),
        kind=s3_event.kind,
        version=version,
        size=None if restored else checked_size(_number(item.size)),
        mark=_mark(s3_event, sequencer, version_id, etag),
    )


def _mark(s3_event: _S3Event, sequencer: str, version_id: str, etag: str | None) -> bytes:
    """The mark of an event: the same where AWS sends one change twice, as a record and through EventBridge.

    Of a removal only one of the two has an ETag.
    """
    created = etag if s3_event.kind is EventKind.CREATED else None
    if sequencer and s3_event.name not in _RESTORED:  # MinIO's sequencer is still that of the upload
        return mark_of(s3_event.dialect.name, s3_event.kind.value, sequencer.lower(), version_id, created)
    identity = _checked_text("time or id", s3_event.identity)
    return mark_of(s3_event.dialect.name, s3_event.name, identity, version_id, etag, s3_event.object.size)


def _removes_version(name: str, version_id: str) -> bool:
    """Whether this removes one version of several, for good.

    MinIO stamps it with the time at which that version was written, and the oldest may be removed last: an event that
    looks old may tell that nothing is left.
    """
    return name.startswith("ObjectRemoved:") and not name.endswith(":DeleteMarkerCreated") and version_id != ""


def _modified(s3_event: _S3Event, order: EventOrder | None) -> datetime | None:
    """MinIO's sequencer is the object's Last-Modified."""
    if s3_event.dialect is not _MINIO or order is None or s3_event.kind is not EventKind.CREATED:
        return None
    return _EPOCH + timedelta(microseconds=int.from_bytes(order.key, "big") // 1000)


# ── names of events ──────────────────────────────────────────────────────────────────────────────────────────────────

_KINDS = (
    # The first that fits. MinIO calls changes of metadata creations.
    ("ObjectCreated:PutTagging", EventKind.IRRELEVANT),
    ("ObjectCreated:DeleteTagging", EventKind.IRRELEVANT),
    ("ObjectCreated:PutRetention", EventKind.IRRELEVANT),
    ("ObjectCreated:PutLegalHold", EventKind.IRRELEVANT),
    ("ObjectCreated:", EventKind.CREATED),
    ("ObjectRemoved:", EventKind.REMOVED),
    ("LifecycleExpiration:", EventKind.REMOVED),
    ("LifecycleDelMarkerExpiration:", EventKind.REMOVED),
    ("ReducedRedundancyLostObject", EventKind.REMOVED),
    ("ObjectLifecycle:Expiration:Current", EventKind.REMOVED),
    ("ObjectLifecycle:", EventKind.IRRELEVANT),
    ("ObjectSynced:Create", EventKind.CREATED),
    ("ObjectSynced:Delet", EventKind.REMOVED),
    ("ObjectAccessed:", EventKind.IRRELEVANT),
    ("ObjectTagging:", EventKind.IRRELEVANT),
    ("ObjectAcl:", EventKind.IRRELEVANT),
    ("ObjectRestore:Completed", EventKind.CREATED),  # what could not be read now can
    ("ObjectRestore:", EventKind.IRRELEVANT),
    ("ObjectTransition:", EventKind.IRRELEVANT),
    ("ObjectRetention:", EventKind.IRRELEVANT),
    ("LifecycleTransition", EventKind.IRRELEVANT),
    ("IntelligentTiering", EventKind.IRRELEVANT),
    ("Replication:", EventKind.IRRELEVANT),
    ("Scanner:", EventKind.IRRELEVANT),
)

_BRIDGED_KINDS = {
    "Object Created": EventKind.CREATED,
    "Object Deleted": EventKind.REMOVED,
    "Object Restore Initiated": EventKind.IRRELEVANT,
    "Object Restore Completed": EventKind.CREATED,
    "Object Restore Expired": EventKind.IRRELEVANT,
    "Object Storage Class Changed": EventKind.IRRELEVANT,
    "Object Access Tier Changed": EventKind.IRRELEVANT,
    "Object ACL Updated": EventKind.IRRELEVANT,
    "Object Tags Added": EventKind.IRRELEVANT,
    "Object Tags Deleted": EventKind.IRRELEVANT,
}


def _kind(name: str) -> EventKind:
    for beginning, kind in _KINDS:
        if name.startswith(beginning):
            return kind
    raise UnreadableEvent(f"unknown event name {name[:100]!r}")


# ── keys, numbers, order ─────────────────────────────────────────────────────────────────────────────────────────────

_is_hex = re.compile(r"[0-9a-f]+").fullmatch
_is_size = re.compile(r"[0-9]{1,20}").fullmatch
_half_escape = re.compile(r"%(?![0-9A-Fa-f]{2})").search


def _form_decoded(key: str) -> str:
    """The key of a form's encoding, in which a space is a plus. Raises UnreadableEvent."""
    if len(key) > 3 * MAX_KEY_BYTES:  # none of it needs to be decoded to know that
        raise UnreadableEvent(f"the key is longer than {MAX_KEY_BYTES} bytes")
    if _half_escape(key):
        raise UnreadableEvent("the key is not percent-encoded, as this store's keys are: was it decoded on the way?")
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        raise UnreadableEvent("the decoded key is not UTF-8") from None


def _number(size: int | str | None) -> int | None:
    """The size in bytes, which some senders write as text. Raises UnreadableEvent."""
    if not isinstance(size, str):
        return size
    if not size:
        return None
    if not _is_size(size):
        raise UnreadableEvent("the size is no number of bytes")
    return int(size)


def _checked_text(name: str, text: str | None) -> str:
    """Return a text that is not too long; empty where there is none. Raises UnreadableEvent."""
    if text is None:
        return ""
    if len(text) > _TEXT_CHARACTERS:
        raise UnreadableEvent(f"the {name} is longer than {_TEXT_CHARACTERS} characters")
    return text


def _aws_order(sequencer: str, _: int) -> EventOrder | None:
    """A number in hexadecimal. AWS pads it with zeros before or behind, so only numbers of the same length compare."""
    digits = sequencer.lower()
    if not _is_hex(digits) or len(digits) > 64:
        return None
    return EventOrder(f"aws-{len(digits)}", digits.encode())


def _minio_order(sequencer: str, believed_ns: int) -> EventOrder | None:
    """The object's modification time in nanoseconds since 1970, in hexadecimal without leading zeros."""
    digits = sequencer.lower()
    if not _is_hex(digits) or len(digits) > 16 or int(digits, 16) > believed_ns:
        return None
    return EventOrder("minio", int(digits, 16).to_bytes(8, "big"))


def _ceph_order(sequencer: str, believed_ns: int) -> EventOrder | None:
    """Seconds and nanoseconds of the gateway's clock, each 32 bits, as they lie in the memory of a little-endian CPU.

    The write itself was at that moment or somewhat before; to be on the safe side it may also have been after. Read as
    text or as one number, the order is wrong for about half of all pairs.
    """
    digits = sequencer.lower()
    if not _is_hex(digits) or len(digits) != 16:
        return None
    raw = bytes.fromhex(digits)
    seconds, nanos = int.from_bytes(raw[:4], "little"), int.from_bytes(raw[4:], "little")
    if nanos >= _NANOS or seconds * _NANOS + nanos > believed_ns:
        return None
    last = min(seconds + CEPH_INEXACT_SECONDS, 2**32 - 1)
    return EventOrder("ceph", _moment(seconds, nanos), _moment(last, nanos))


def _moment(seconds: int, nanos: int) -> bytes:
    return seconds.to_bytes(4, "big") + nanos.to_bytes(4, "big")


_AWS = _Dialect("aws", _form_decoded, _aws_order)
_BRIDGED = _Dialect("aws", str, _aws_order)
_MINIO = _Dialect("minio", _form_decoded, _minio_order)
_CEPH = _Dialect("ceph", str, _ceph_order)
_DIALECTS = {"aws:s3": _AWS, "minio:s3": _MINIO, "ceph:s3": _CEPH}
