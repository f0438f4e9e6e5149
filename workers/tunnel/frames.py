"""Frames of the service tunnel: their encoding, and their limits.

A WebSocket message holds one or more whole frames: kind (1 byte), stream (4 bytes), length of the payload (4 bytes),
payload; numbers in network byte order. docs/protocol.md describes what each kind is for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

Payload = bytes | memoryview
"""What a frame carries."""
MAX_HEAD_BYTES = 128 << 10
"""Of one request's or answer's head."""
MAX_HEADERS = 256
MAX_DATA_BYTES = 128 << 10
"""Of one frame of a body, or of a message's part."""
MAX_TEXT_BYTES = 4 << 10
"""Of a reason."""
MAX_MESSAGE_BYTES = 1 << 20
"""Of one WebSocket message."""
MAX_STREAMS = 1_024
"""Open at once on one connection."""
MAX_STREAM = 2**31 - 1
"""Highest number of a stream. A connection that has come so far is replaced."""
FRAME_COST = 64
"""Bytes of a window that a frame takes beside its payload, so that many small ones cannot fill the memory."""
FIRST_WINDOW_BYTES = 256 << 10
"""What each side may send of a stream before the other grants more."""
MAX_WINDOW_BYTES = 8 << 20
"""Of one stream, bytes that may be under way or wait to be read."""
WINDOWS_BYTES = 64 << 20
"""Of all streams of a connection together, beyond their first windows."""

_VIEWED_SHARE = 4
"""A piece that is at least this fraction of its message is not copied: so what waits to be read can keep four times as
much in memory, but no more."""
_HEADER = struct.Struct(">BII")
_NUMBER = struct.Struct(">I")
_CODE = struct.Struct(">H")
_SENDABLE = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
_NO_CODE = 1000


class Kind(IntEnum):
    """What a frame is."""

    REQUEST = 1
    """Opens a stream, with the head of a request."""
    UPGRADE = 2
    """Opens a stream, with the head of a request for a WebSocket."""
    ANSWER = 3
    """The head of the answer; status 101 where a WebSocket was opened."""
    DATA = 4
    """The next bytes of a body."""
    END = 5
    """The body is complete."""
    RESET = 6
    """The stream is given up: a code, and a reason."""
    WINDOW = 7
    """So many more bytes may be sent."""
    PART = 8
    """The beginning of a WebSocket's message, which TEXT or BINARY ends."""
    TEXT = 9
    BINARY = 10
    CLOSE = 11
    """The WebSocket is closed: a code, and a reason."""


class ResetCode(IntEnum):
    """Why a stream was given up."""

    CANCELLED = 0
    """The client has gone, or needs no more of the answer."""
    UNSENT = 1
    """The server has not seen the request."""
    LOST = 2
    """The server ended the connection before its answer was complete."""
    NONSENSE = 3
    """The server's answer is no HTTP, or exceeds its limits."""


class TunnelViolation(Exception):
    """The other side has sent what the protocol does not allow. The connection is closed."""


_LIMITS = {
    Kind.REQUEST: MAX_HEAD_BYTES,
    Kind.UPGRADE: MAX_HEAD_BYTES,
    Kind.ANSWER: MAX_HEAD_BYTES,
    Kind.DATA: MAX_DATA_BYTES,
    Kind.END: 0,
    Kind.RESET: MAX_TEXT_BYTES,
    Kind.WINDOW: _NUMBER.size,
    Kind.PART: MAX_DATA_BYTES,
    Kind.TEXT: MAX_DATA_BYTES,
    Kind.BINARY: MAX_DATA_BYTES,
    Kind.CLOSE: MAX_TEXT_BYTES,
}
_KINDS = {int(kind): (kind, limit) for kind, limit in _LIMITS.items()}

WINDOWED = frozenset({Kind.DATA, Kind.PART, Kind.TEXT, Kind.BINARY})
"""Kinds that need room in the window of their stream."""


def frame_header(kind: Kind, stream: int, size: int) -> bytes:
    """Encode what stands before a payload of so many bytes."""
    return _HEADER.pack(kind, stream, size)


def frames(message: bytes) -> Iterator[tuple[Kind, int, Payload]]:
    """Decode a WebSocket message: kind, stream and payload of each frame. Raises TunnelViolation.

    The bytes of a large piece of a body are not copied: it is a view of the message.
    """
    end, at = len(message), 0
    while at < end:
        if end - at < _HEADER.size:
            raise TunnelViolation("a frame is cut off")
        number, stream, size = _HEADER.unpack_from(message, at)
        at += _HEADER.size
        if number not in _KINDS:
            raise TunnelViolation(f"there is no kind of frame {number}")
        kind, limit = _KINDS[number]
        if size > limit:
            raise TunnelViolation(f"a {kind.name} of {size} bytes exceeds its limit of {limit}")
        if size > end - at:
            raise TunnelViolation("a frame is cut off")
        if not 1 <= stream <= MAX_STREAM:
            raise TunnelViolation(f"there is no stream {stream}")
        if kind is Kind.DATA and size * _VIEWED_SHARE >= end:
            yield kind, stream, memoryview(message)[at : at + size]
        else:
            yield kind, stream, message[at : at + size]
        at += size


def window(size: int) -> bytes:
    """Encode the payload of WINDOW."""
    return _NUMBER.pack(size)


def window_bytes(payload: Payload) -> int:
    """Decode the payload of WINDOW. Raises TunnelViolation."""
    if len(payload) != _NUMBER.size:
        raise TunnelViolation("a WINDOW has no number")
    number: int = _NUMBER.unpack(payload)[0]
    return number


def coded(code: int, reason: str) -> bytes:
    """Encode the payload of RESET and CLOSE. A reason that is too long is cut off."""
    return _CODE.pack(code) + reason.encode("utf-8", "replace")[: MAX_TEXT_BYTES - _CODE.size]


def code_and_reason(payload: Payload) -> tuple[int, str]:
    """Decode the payload of RESET and CLOSE. Raises TunnelViolation."""
    if len(payload) < _CODE.size:
        raise TunnelViolation("a code is missing")
    code: int = _CODE.unpack_from(payload)[0]
    return code, bytes(payload[_CODE.size :]).decode("utf-8", "replace")


def sendable(code: int) -> int:
    """The code with which a WebSocket may be closed: 1005, 1006 and 1015 only say that none came (RFC 6455, 7.4)."""
    return code if code in _SENDABLE else _NO_CODE
