"""Heads of requests and answers, as the service tunnel carries them: texts with a zero byte between.

What could end a line of HTTP/1.1 is in none of them: a head that was let through here can be written out as one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from workers.tunnel.frames import MAX_HEAD_BYTES, MAX_HEADERS, Payload, TunnelViolation

RawHeaders = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values, in the order in which they came."""

_NAME = rb"[!#$%&'*+.^_`|~0-9a-z-]+"
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}")
_TARGET = re.compile(rb"[!-~\x80-\xff]+")
_NAMES = re.compile(rb"(?:" + _NAME + rb"\x00)*")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_STATUS = re.compile(rb"[1-5][0-9]{2}")


class HeadRefused(Exception):
    """A head cannot be sent: it is too long, or is none."""


@dataclass(slots=True)  # made for each request: a frozen one takes three times as long
class RequestHead:
    """The head of a request."""

    method: str
    target: bytes
    """Path and query in origin form."""
    headers: RawHeaders = field(repr=False)
    body_bytes: int | None = 0
    """None: known at the body's end only."""

    def encoded(self) -> bytes:
        """Encode it. Raises HeadRefused."""
        length = b"" if self.body_bytes is None else b"%d" % self.body_bytes
        return _joined([self.method.encode("ascii", "replace"), self.target, length], self.headers)

    @classmethod
    def decoded(cls, payload: Payload) -> RequestHead:
        """Decode one. Raises TunnelViolation."""
        (method, target, length), headers = _split(bytes(payload), 3)
        if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target) or (length and not _LENGTH.fullmatch(length)):
            raise TunnelViolation("a request's head is none")
        return cls(method.decode("ascii"), target, headers, int(length) if length else None)


@dataclass(slots=True)
class AnswerHead:
    """The head of an answer."""

    status: int
    headers: RawHeaders = field(repr=False)

    def encoded(self) -> bytes:
        """Encode it. Raises HeadRefused."""
        return _joined([b"%d" % self.status], self.headers)

    @classmethod
    def decoded(cls, payload: Payload) -> AnswerHead:
        """Decode one. Raises TunnelViolation."""
        (status,), headers = _split(bytes(payload), 1)
        if not _STATUS.fullmatch(status):
            raise TunnelViolation("an answer's head is none")
        return cls(int(status), headers)


def _joined(first: list[bytes], headers: RawHeaders) -> bytes:
    if len(headers) > MAX_HEADERS:
        raise HeadRefused(f"there are more than {MAX_HEADERS} headers")
    parts = first
    for header in headers:
        parts += header
    payload = b"\0".join(parts)
    if len(payload) > MAX_HEAD_BYTES:
        raise HeadRefused(f"the headers are longer than {MAX_HEAD_BYTES} bytes")
    if payload.count(b"\0") != len(parts) - 1 or b"\r" in payload or b"\n" in payload:
        raise HeadRefused("a header holds a control character")
    return payload


def _split(payload: bytes, first: int) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    if b"\r" in payload or b"\n" in payload:
        raise TunnelViolation("a head holds an end of a line")
    parts = payload.split(b"\0")
    names, values = parts[first::2], parts[first + 1 :: 2]
    if len(parts) < first or len(names) != len(values) or len(names) > MAX_HEADERS:
        raise TunnelViolation("a head has too few or too many parts")
    if not _NAMES.fullmatch(b"\0".join([*names, b""])):
        raise TunnelViolation("a head has a header without a name in lower case")
    return parts[:first], list(zip(names, values, strict=True))
