"""Sends requests to a server on this machine, over connections that are kept for the next request.

A connection reads ahead of the one who takes its answer by a few reads at most; then the server has to wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import cast

from workers.handlers.http.handler import HOST
from workers.services.http_answer import AnswerMalformed, AnswerParser
from workers.tunnel.heads import AnswerHead, RequestHead

CONNECT_SECONDS = 5.0
KEPT_SECONDS = 1.0
"""An idle connection is not used again after so long: servers close theirs after two seconds at the earliest."""
_READ_BYTES = 256 << 10
_AHEAD_BYTES = 512 << 10
"""Of an answer, that wait to be taken: then no more is read."""
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class ServerAbsent(Exception):
    """Nothing listens there: the server has not seen the request."""


class ServerGone(Exception):
    """The server ended the connection before its answer was complete."""

    def __init__(self, message: str, *, stale: bool = False) -> None:
        super().__init__(message)
        self.stale = stale
        """Whether it was a kept connection, which the server may have closed before the request came."""


class ServerGarbled(Exception):
    """The server's answer is no HTTP, or its head is too long."""


class BodyMismatch(Exception):
    """The request's body is longer or shorter than its head says."""


class LocalServer:
    """The server at one port of this machine. Use on one event loop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._kept: list[tuple[float, LocalConnection]] = []
        self._buffer = memoryview(bytearray(_READ_BYTES))
        """For every connection: what was read is taken out before another one reads."""

    async def connection(self, *, fresh: bool = False) -> LocalConnection:
        """Return a connection without a request, a new one if it is to be ``fresh``. Raises ServerAbsent."""
        while self._kept and not fresh:
            since, connection = self._kept.pop()
            if time.monotonic() - since < KEPT_SECONDS and connection.can_follow:
                return connection
            connection.close()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(lambda: LocalConnection(self._buffer), HOST, self._port)
        except (OSError, TimeoutError):
            raise ServerAbsent(f"nothing answers on port {self._port} of the machine") from None
        return connection

    def keep(self, connection: LocalConnection) -> None:
        """Keep a connection for the next request, or close it where none can follow."""
        if connection.can_follow:
            self._kept.append((time.monotonic(), connection))
        else:
            connection.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        for _, connection in self._kept:
            connection.close()
        self._kept.clear()


class LocalConnection(asyncio.BufferedProtocol):
    """One connection: a request, its answer, and the next."""

    def __init__(self, buffer: memoryview) -> None:
        """``buffer`` is what is read into."""
        self._buffer = buffer
        self._transport: asyncio.Transport
        self._requests = 0
        self._body_left: int | None = 0
        """Bytes of the request's body that are to be sent; None: it is sent in chunks."""
        self._sent = True
        self._parser = AnswerParser("")
        self._heard = False
        self._ahead: deque[bytes | memoryview] = deque()
        self._ahead_bytes = 0
        self._ended: Exception | None = None
        self._is_lost = False
        self._arrived: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it, as far as this side knows."""
        return not self._is_lost and not self._transport.is_closing()

    @property
    def can_follow(self) -> bool:
        """Whether another request can follow."""
        return self._sent and self._parser.is_complete and self._parser.can_follow and self.is_open

    # ── the request ──────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, head: RequestHead) -> None:
        """Send a request's head."""
        self._requests += 1
        self._parser, self._heard, self._ended = AnswerParser(head.method), False, None
        self._body_left, self._sent = head.body_bytes, head.body_bytes == 0
        lines = [b"%s %s HTTP/1.1\r\n" % (head.method.encode(), head.target)]
        lines += [b"%s: %s\r\n" % header for header in head.headers if header[0] not in _FRAMING]
        if head.body_bytes is None:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif head.body_bytes or head.method in _WITH_BODY:
            lines.append(b"content-length: %d\r\n" % head.body_bytes)
        lines.append(b"\r\n")
        self._transport.write(b"".join(lines))

    async def send(self, chunk: bytes | memoryview) -> None:
        """Send bytes of the body, once the server takes them. Raises BodyMismatch, ConnectionError."""
        if not chunk:
            return
        if self._body_left is None:
            self._transport.writelines((b"%x\r\n" % len(chunk), chunk, b"\r\n"))
        elif len(chunk) > self._body_left:
            raise BodyMismatch("the request's body is longer than its head says")
        else:
            self._body_left -= len(chunk)
            self._transport.write(chunk)
        if self._is_lost:
            raise ConnectionResetError("the server has closed the connection")
        if self._writable is not None:
            await self._writable

    def end(self) -> None:
        """End the body. Raises BodyMismatch where it is shorter than was said."""
        if self._body_left:
            raise BodyMismatch("the request's body is shorter than its head says")
        if self._body_left is None:
            self._transport.write(b"0\r\n\r\n")
        self._sent = True

    # ── the answer ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def head(self) -> AnswerHead:
        """Wait for the head of the answer. Raises ServerGone, ServerGarbled."""
        while self._parser.head is None:
            await self._more()
        return self._parser.head

    async def chunk(self) -> bytes | memoryview:
        """Return the next bytes of the answer's body, none at its end. Raises ServerGone, ServerGarbled."""
        while not self._ahead:
            if self._parser.is_complete:
                return b""
            await self._more()
        chunk = self._ahead.popleft()
        before, self._ahead_bytes = self._ahead_bytes, self._ahead_bytes - len(chunk)
        if before >= _AHEAD_BYTES > self._ahead_bytes and self.is_open:
            self._transport.resume_reading()
        return chunk

    def close(self) -> None:
        """Close it at once: the server sees that a request was cancelled."""
        self._transport.abort()

    async def _more(self) -> None:
        """Wait for more of the answer. Raises what has ended it."""
        if self._ended is not None:
            raise self._ended
        self._arrived = asyncio.get_running_loop().create_future()
        await self._arrived

    # ── what the transport says ──────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_READ_BYTES)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self._heard = True
        try:
            chunk = self._parser.feed(bytes(self._buffer[:nbytes]))
        except AnswerMalformed as error:
            self._end(ServerGarbled(f"the server's answer is no HTTP: {error}"))
            self._transport.abort()
            return
        if chunk:
            self._ahead.append(chunk)
            before, self._ahead_bytes = self._ahead_bytes, self._ahead_bytes + len(chunk)
            if before < _AHEAD_BYTES <= self._ahead_bytes:
                self._transport.pause_reading()
        _wake(self._arrived)

    def eof_received(self) -> None:
        """Note that the server will say no more; the transport closes."""
        self._is_lost = True
        if not self._parser.end():
            self._end(self._gone())
        _wake(self._arrived)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone."""
        if not self._is_lost and not self._parser.is_complete:
            self._end(self._gone())
        self._is_lost = True
        _wake(self._arrived)
        self.resume_writing()

    def pause_writing(self) -> None:
        """Have bodies wait."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let bodies go on."""
        _wake(self._writable)
        self._writable = None

    def _end(self, error: Exception) -> None:
        if self._ended is None:
            self._ended = error
            _wake(self._arrived)

    def _gone(self) -> Exception:
        if not self._heard:
            return ServerGone("the server ended the connection without an answer", stale=self._requests > 1)
        if self._parser.head is None:
            return ServerGarbled("the server ended the connection in the midst of an answer's head, or of no HTTP")
        return ServerGone("the server ended the connection before its answer was complete")


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
