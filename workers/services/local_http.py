"""Sends requests to a server on this machine, over connections that are kept for the next request.

HTTP/1.1 is h11's; here is what moves its bytes. Nothing is buffered but what the sockets hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import h11

from workers.handlers.http.handler import HOST
from workers.tunnel.heads import AnswerHead, RequestHead

MAX_HEAD_BYTES = 64 << 10
"""Of an answer."""
CONNECT_SECONDS = 5.0
KEPT_SECONDS = 1.0
"""An idle connection is not used again after so long: servers close theirs after two seconds at the earliest."""
_READ_BYTES = 256 << 10
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})


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


class LocalServer:
    """The server at one port of this machine. Use on one event loop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._kept: list[tuple[float, LocalConnection]] = []

    async def connection(self, *, fresh: bool = False) -> LocalConnection:
        """Return a connection without a request, a new one if it is to be ``fresh``. Raises ServerAbsent."""
        while self._kept and not fresh:
            since, connection = self._kept.pop()
            if time.monotonic() - since < KEPT_SECONDS and connection.is_open:
                return connection
            connection.close()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(HOST, self._port, limit=_READ_BYTES)
        except (OSError, TimeoutError):
            raise ServerAbsent(f"nothing answers on port {self._port} of the machine") from None
        return LocalConnection(reader, writer)

    def keep(self, connection: LocalConnection) -> None:
        """Keep a connection for the next request, or close it where none can follow."""
        if connection.goes_on():
            self._kept.append((time.monotonic(), connection))
        else:
            connection.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        for _, connection in self._kept:
            connection.close()
        self._kept.clear()


class LocalConnection:
    """One connection: a request, its answer, and the next."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._used = False
        self._heard = self._answered = False

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it, as far as this side knows."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def begin(self, head: RequestHead) -> None:
        """Send a request's head. Raises ServerGarbled where it is none."""
        framing: list[tuple[bytes, bytes]] = []
        if head.body_bytes is None:
            framing = [(b"transfer-encoding", b"chunked")]
        elif head.body_bytes or head.method in _WITH_BODY:
            framing = [(b"content-length", b"%d" % head.body_bytes)]
        headers = [header for header in head.headers if header[0] not in (b"content-length", b"transfer-encoding")]
        try:
            self._send(h11.Request(method=head.method, target=head.target, headers=[*headers, *framing]))
        except h11.LocalProtocolError as error:
            raise ServerGarbled(f"the request cannot be sent: {error}") from None

    async def send(self, chunk: bytes) -> None:
        """Send bytes of the body, once the server takes them. Raises OSError, h11.LocalProtocolError."""
        self._send(h11.Data(data=chunk))
        await self._writer.drain()

    def end(self) -> None:
        """End the body. Raises h11.LocalProtocolError where it is shorter than was said."""
        self._send(h11.EndOfMessage())

    async def head(self) -> AnswerHead:
        """Wait for the head of the answer. Raises ServerGone, ServerGarbled."""
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                self._answered = True
                headers = [header for header in event.headers.raw_items() if header[0].lower() not in _HOP_BY_HOP]
                return AnswerHead(event.status_code, [(name.lower(), value) for name, value in headers])

    async def body(self) -> AsyncIterator[bytes]:
        """The answer's body, as it comes. Raises ServerGone, ServerGarbled."""
        while isinstance(event := await self._event(), h11.Data):
            yield bytes(event.data)

    def goes_on(self) -> bool:
        """Whether another request can follow; begin its turn."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE or not self.is_open:
            return False
        self._http.start_next_cycle()
        self._used, self._heard, self._answered = True, False, False
        return True

    def close(self) -> None:
        """Close it at once: the server sees that a request was cancelled."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.transport.abort()

    def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            self._writer.write(data)

    async def _event(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._read())
            return event
        except h11.RemoteProtocolError as error:
            if self._reader.at_eof():
                raise self._gone() from None
            raise ServerGarbled(f"the server's answer is no HTTP: {error}") from None

    async def _read(self) -> bytes:
        try:
            data = await self._reader.read(_READ_BYTES)
        except OSError:
            raise self._gone() from None
        self._heard |= bool(data)
        return data

    def _gone(self) -> Exception:
        if self._heard and not self._answered:
            return ServerGarbled("the server ended the connection in the midst of an answer's head, or of no HTTP")
        if self._heard:
            return ServerGone("the server ended the connection before its answer was complete")
        return ServerGone("the server ended the connection without an answer", stale=self._used)
