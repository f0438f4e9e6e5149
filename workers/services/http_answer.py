"""Parses the answer of an HTTP/1.1 server (RFC 9112), from bytes as they come. Does no input or output itself."""

from __future__ import annotations

import re
from collections.abc import Callable

from workers.tunnel.heads import AnswerHead, RawHeaders

MAX_HEAD_BYTES = 64 << 10
"""Of an answer's head, and of its trailers."""
_MAX_LINE_BYTES = 8 << 10
"""Of the line before a chunk, and of one trailer."""
_SHORT_LINE_BYTES = 64
_HEAD_END = re.compile(rb"\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00\r\n]*)?\r?")
_LENGTH_NAME = b"content-length"
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_WITHOUT_BODY = frozenset({204, 304})


class AnswerMalformed(Exception):
    """The bytes are no HTTP, or a head is too long."""


class AnswerParser:
    """Parses one answer.

    The body is told as it comes: `feed` returns what of it was in the bytes. Informational answers are passed over.
    """

    def __init__(self, method: str) -> None:
        """``method`` is that of the request: an answer to HEAD has no body."""
        self.head: AnswerHead | None = None
        """Without headers that are for one connection alone."""
        self.is_complete = False
        self.can_follow = False
        """Whether the server takes another request on the connection, once the answer is complete."""
        self._method = method
        self._part: Callable[[bytes | memoryview], bytes | memoryview] | None = None
        """Takes what follows of the body; None: the head is not complete."""
        self._rest = b""
        """Of a head, or of a line before a chunk, that is not complete."""
        self._body: list[bytes | memoryview] = []
        self._left = 0
        """Bytes of the body, or of the chunk, that are still to come."""

    def feed(self, data: bytes) -> bytes | memoryview:
        """Take the next bytes from the server, none of them twice. Return those of the body. Raises AnswerMalformed."""
        rest: bytes | memoryview = data
        if self._part is None:
            rest = self._take_head(data)
        while len(rest) and self._part is not None and not self.is_complete:
            rest = self._part(rest)
        if len(rest) and self.is_complete:
            self.can_follow = False  # it has said more than it was asked
        body, self._body = self._body, []
        return b"".join(body) if len(body) > 1 else body[0] if body else b""

    def end(self) -> bool:
        """Take the end of the connection. Returns whether the answer is complete."""
        self.can_follow = False
        self.is_complete = self.is_complete or self._part == self._take_all
        return self.is_complete

    # ── the head ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_head(self, data: bytes) -> bytes:
        """Take the final head, and informational ones before it. Returns what follows."""
        data = self._rest + data
        while self.head is None:
            data = data.lstrip(b"\r\n") if data[:1] in (b"\r", b"\n") else data
            found = _HEAD_END.search(data, 0, MAX_HEAD_BYTES)
            if found is None:
                if len(data) >= MAX_HEAD_BYTES or not _may_become_head(data):
                    raise AnswerMalformed("the head of the answer is too long, or none")
                self._rest = data
                return b""
            self._read_head(data[: found.start()])
            data = data[found.end() :]
        self._rest = b""
        return data

    def _read_head(self, text: bytes) -> None:
        if b"\n " in text or b"\n\t" in text:
            text = _FOLD.sub(b" ", text)
        first, *lines = text.split(b"\n")
        status_line = _STATUS_LINE.fullmatch(first.removesuffix(b"\r"))
        if status_line is None:
            raise AnswerMalformed("the answer begins with no status line")
        status, headers = int(status_line[2]), []
        for line in lines:
            header = _HEADER.fullmatch(line.removesuffix(b"\r"))
            if header is None:
                raise AnswerMalformed("a header of the answer is none")
            headers.append((header[1].lower(), header[2]))
        if status == 101:
            raise AnswerMalformed("the server has changed to another protocol without being asked")
        if status >= 200:
            self._begin(status, headers, is_old=status_line[1] == b"0")

    def _begin(self, status: int, headers: RawHeaders, *, is_old: bool) -> None:
        """Note the final head, and how long the body is (RFC 9112, 6.3)."""
        names = dict(headers)
        length = _length(headers) if _LENGTH_NAME in names else None
        passed = headers
        if not _HOP_BY_HOP.isdisjoint(names):
            passed = [header for header in headers if header[0] not in _HOP_BY_HOP]
        if length is not None:
            passed = [header for header in passed if header[0] != _LENGTH_NAME]
            passed.append((_LENGTH_NAME, b"%d" % length))
        self.head = AnswerHead(status, passed)
        closes = b"connection" in names and any(
            name == b"connection" and b"close" in value.lower() for name, value in headers
        )
        self.can_follow = not is_old and not closes
        if self._method == "HEAD" or status in _WITHOUT_BODY or length == 0:
            self._part, self.is_complete = self._take_some, True
        elif b"transfer-encoding" in names and _is_chunked(headers, length):
            self._part = self._take_size
        elif length is None:
            self._part, self.can_follow = self._take_all, False
        else:
            self._part, self._left = self._take_some, length

    # ── the body ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_all(self, data: bytes | memoryview) -> bytes | memoryview:
        self._body.append(data)
        return b""

    def _take_some(self, data: bytes | memoryview) -> bytes | memoryview:
        rest = self._taken(data)
        self.is_complete = not self._left
        return rest

    def _take_chunk(self, data: bytes | memoryview) -> bytes | memoryview:
        rest = self._taken(data)
        if not self._left:
            self._part = self._take_chunk_end
        return rest

    def _taken(self, data: bytes | memoryview) -> bytes | memoryview:
        size = len(data)
        if size <= self._left:
            self._left -= size
            self._body.append(data)
            return b""
        view = memoryview(data)
        taken, rest = view[: self._left], view[self._left :]
        self._left = 0
        self._body.append(taken)
        return rest

    def _take_chunk_end(self, data: bytes | memoryview) -> bytes | memoryview:
        line, rest = self._line(data)
        if line is None:
            return rest
        if line not in (b"", b"\r"):
            raise AnswerMalformed("a chunk of the answer is longer than it says")
        self._part = self._take_size
        return rest

    def _take_size(self, data: bytes | memoryview) -> bytes | memoryview:
        line, rest = self._line(data)
        if line is None:
            return rest
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise AnswerMalformed("a chunk of the answer says no size")
        self._left = int(size[1], 16)
        self._part = self._take_chunk if self._left else self._take_trailer
        return rest

    def _take_trailer(self, data: bytes | memoryview) -> bytes | memoryview:
        line, rest = self._line(data)
        if line in (b"", b"\r"):
            self.is_complete = True
        elif line is not None:
            self._left += len(line)
            if self._left > MAX_HEAD_BYTES:
                raise AnswerMalformed("the trailers of the answer are too long")
        return rest

    def _line(self, data: bytes | memoryview) -> tuple[bytes | None, bytes | memoryview]:
        """Take a line off the bytes; None: it is not complete yet."""
        begun = len(self._rest)
        text = self._rest + bytes(data[:_SHORT_LINE_BYTES])
        at = text.find(b"\n", begun)
        if at < 0:
            if len(text) >= _MAX_LINE_BYTES:
                raise AnswerMalformed("a line of the answer is too long")
            self._rest = text
            return None, memoryview(data)[_SHORT_LINE_BYTES:]
        rest = memoryview(data)[at + 1 - begun :]
        self._rest = b""
        return text[:at], rest


def _may_become_head(data: bytes) -> bool:
    start = b"HTTP/1."
    return data.startswith(start) or start.startswith(data)


def _length(headers: RawHeaders) -> int:
    """What ``Content-Length`` says, which is there. Raises AnswerMalformed."""
    texts = {part.strip(b" \t") for name, value in headers if name == _LENGTH_NAME for part in value.split(b",")}
    [text, *others] = texts
    if others or not _LENGTH.fullmatch(text):
        raise AnswerMalformed("the answer does not say how long it is")
    return int(text)


def _is_chunked(headers: RawHeaders, length: int | None) -> bool:
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings != [b"chunked"] or length is not None:
        raise AnswerMalformed("the answer is framed in a way that is not known, or in two")
    return True
