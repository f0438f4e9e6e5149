"""Verifies callbacks by the rules of Standard Webhooks, with the standard library.

Source: the specification of Standard Webhooks, version 1: HMAC-SHA256 over the id, the timestamp and the body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

from yurt.client.answers import OutputInfo
from yurt.decoding import DecodingError, decode_json
from yurt.errors import InvalidCallback, YurtError

SECRETS = "YURT_CALLBACK_SECRETS"
TOLERANCE_SECONDS = 300
MAX_BODY_BYTES = 1 << 20
_PREFIX = "whsec_"
_VERSION = "v1"
_LEAST_BYTES, _MOST_BYTES = 24, 64
"""Of a secret."""
_MOST_HEADER_CHARACTERS = 8_192
_MOST_TIMESTAMP_DIGITS = 12

CallbackKind = Literal["object.done", "object.refused", "object.parked", "object.gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackContent:
    """What a callback tells of an object."""

    pipeline: str
    bucket: str
    """Of the input."""
    key: str
    """Of the input."""
    sequence: int
    """Of two callbacks of one object, the one with the greater sequence tells the later state."""
    etag: str | None
    """Of the content that the result was made from; None where there is no result."""
    verdict: str | None
    """Of the checks: ``ok``, ``review`` or ``refused``; None where none gives one."""
    reason: str | None
    """Why it is parked, as a code."""
    message: str | None
    """Why it is parked, for the person who uploaded it."""
    outputs: tuple[OutputInfo, ...]
    """Of the result. Empty where the object is parked or gone, or another callback of it follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback(CallbackContent):
    """What became of an object, as your control plane has told it."""

    id: str
    """The same for each repetition of one callback: drop those that you know."""
    type: CallbackKind
    timestamp: datetime
    """When the object was settled, UTC."""


@dataclass(frozen=True, slots=True)
class _Body:
    type: CallbackKind
    timestamp: datetime
    data: CallbackContent


def verify_callback(headers: Mapping[str, str], body: bytes, secrets: str | Iterable[str] = "") -> Callback:
    """Verify a callback, and return what it tells.

    Args:
        headers: Of the request; their names in any case.
        body: Of the request, the bytes as they came.
        secrets: Those of the control plane, one by one or with commas between; by default ``YURT_CALLBACK_SECRETS``.
            While secrets are exchanged, name the old one and the new one.

    Raises:
        InvalidCallback: it is not signed with any of the secrets, or its time is not within five minutes of now.
        YurtError: a secret is missing or is none.

    """
    known = {name.lower(): value for name, value in headers.items()}
    id, timestamp, signature = (known.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    keys = _keys(secrets)
    if len(body) > MAX_BODY_BYTES or max(map(len, (id, timestamp, signature))) > _MOST_HEADER_CHARACTERS:
        raise InvalidCallback("The callback is longer than any of a control plane.")
    if not (id and timestamp and signature):
        raise InvalidCallback(
            "The callback is not signed: it lacks webhook-id, webhook-timestamp or webhook-signature."
        )
    _check_time(timestamp)
    signed = f"{id}.{timestamp}.".encode() + body
    if not _is_signed(signed, signature, keys):
        raise InvalidCallback("The callback is signed with none of the secrets: compare them with the control plane's.")
    return _understood(id, body)


def _keys(secrets: str | Iterable[str]) -> list[bytes]:
    given = secrets.split(",") if isinstance(secrets, str) else list(secrets)
    if isinstance(secrets, str) and not secrets:
        given = os.environ.get(SECRETS, "").split(",")
    keys = [_key(number, text.strip()) for number, text in enumerate(given, 1) if text.strip()]
    if not keys:
        raise YurtError(f"There is no secret for callbacks: set {SECRETS} as for the control plane, or give secrets.")
    return keys


def _key(number: int, secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise YurtError(f"Secret {number} for callbacks is none: give the control plane's, which begin with {_PREFIX}.")
    return key


def _check_time(timestamp: str) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _MOST_TIMESTAMP_DIGITS):
        raise InvalidCallback("The callback's webhook-timestamp is no time.")
    if abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        raise InvalidCallback("The callback is not of this time: it was replayed, or this machine's clock is wrong.")


def _is_signed(signed: bytes, signatures: str, keys: Iterable[bytes]) -> bool:
    given = list(_signatures(signatures))
    right = False
    for key in keys:
        expected = hmac.digest(key, signed, hashlib.sha256)
        for signature in given:
            right |= hmac.compare_digest(expected, signature)
    return right


def _signatures(text: str) -> Iterator[bytes]:
    for part in text.split(" "):
        version, _, encoded = part.partition(",")
        if version == _VERSION:
            try:
                yield base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                continue


def _understood(id: str, body: bytes) -> Callback:
    try:
        told = decode_json(_Body, body)
    except DecodingError as error:
        raise InvalidCallback(
            f"The callback is signed and cannot be understood: {error}. Install the control plane's version of yurt."
        ) from None
    data = {field.name: getattr(told.data, field.name) for field in fields(CallbackContent)}
    return Callback(id=id, type=told.type, timestamp=told.timestamp, **data)
