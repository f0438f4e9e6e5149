"""HTTP server: uvicorn with our limits, and with signals left to the process that runs it.

uvicorn and httptools take a request head of any size, and wait for its end for ever: any client that reaches the port
could fill the memory without a credential. Bodies have their limits in ``webhook.api.http.read_body``, where the caller
is known.

The rest of a body whose request was answered early (a 401, a 413) is read and thrown away, for a while: a client that
still sends would not see the answer if the connection were closed under it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Bytes in a row that are no body: request line and headers, or trailers and chunk extensions."""
BEGAN_AT = "yurt.began_at"
"""In a request's ASGI scope: when its first byte came, by the event loop's clock."""
HEAD_SECONDS = 15.0
"""From the connection, or a request's first byte, to the end of its head; and for the rest of an answered body."""


class HttpServer(uvicorn.Server):
    """uvicorn, with signals left to the caller: uvicorn itself would end the process by the signal."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        """Set once connections are accepted."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class LimitedConnection(HttpToolsProtocol):
    """One connection with limits on how large and how slow a request's head may be. For uvicorn's ``http`` setting."""

    _head_bytes = 0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request, or of several."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._hang_up(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """A request's first byte."""
        self._wait()
        super().on_message_begin()
        self.scope[BEGAN_AT] = self.loop.time()  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        """A request's head is there."""
        self._came()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some bytes of a body."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request's last byte."""
        self._came()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer's last byte."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._wait()

    def _wait(self) -> None:
        if self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(HEAD_SECONDS, self._hang_up, b"408 Request Timeout")

    def _came(self) -> None:
        self._head_bytes = 0
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _hang_up(self, status: bytes) -> None:
        """Close, with an answer where none was given yet and none is under way."""
        if self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body):
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
