"""Decodes a request's body into UTF-8: gzip and deflate with a limit on what comes out, UTF-16, a byte order mark.

What a body is shows in its first bytes. The header ``Content-Encoding`` decides only where these do not: proxies take a
coding off and leave the header, or the other way round.
"""

from __future__ import annotations

import json
import zlib

_GZIP = b"\x1f\x8b"
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
"""Has zlib recognise either header."""
_READ = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})


class UnreadableCoding(Exception):
    """The body is in a coding that is not read, or is damaged. The message is the reason."""


class DecodedTooLong(Exception):
    """The decoded body is longer than its limit."""


def decoded_body(body: bytes, coding: str, limit_bytes: int) -> bytes:
    """Return the body in UTF-8, as far as it is text; its bytes are not checked.

    Args:
        body: What was received.
        coding: Value of ``Content-Encoding``.
        limit_bytes: Most bytes that a compressed body may decode to.

    Raises:
        UnreadableCoding: another coding than gzip or deflate, or damaged.
        DecodedTooLong: it decodes to more than the limit.

    """
    coding = coding.strip().lower()
    if body.startswith(_GZIP) or (coding == "deflate" and not body.lstrip().startswith((b"{", b"["))):
        body = _inflated(body, limit_bytes)
    elif coding not in _READ:
        raise UnreadableCoding(f"the body's Content-Encoding is {coding[:50]!r}; gzip and deflate are read")
    return _in_utf8(body)


def _inflated(body: bytes, limit_bytes: int) -> bytes:
    """Decompress all members of a body. Raises UnreadableCoding, DecodedTooLong."""
    content = b""
    while not content or body.startswith(_GZIP):
        stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            content += stream.decompress(body, limit_bytes + 1 - len(content))
        except zlib.error as error:
            raise UnreadableCoding(f"the compressed body is damaged: {error}") from None
        if len(content) > limit_bytes:
            raise DecodedTooLong
        if not stream.eof:
            raise UnreadableCoding("the compressed body ends early")
        body = stream.unused_data
        if not body:
            break
    return content


def _in_utf8(body: bytes) -> bytes:
    """Return JSON in UTF-8, without a byte order mark. A text in another encoding is left as it is."""
    encoding = json.detect_encoding(body)
    if encoding == "utf-8":
        return body
    try:
        return body.decode(encoding).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return body.removeprefix(b"\xef\xbb\xbf")
