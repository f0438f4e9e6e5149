"""WebSockets: uvicorn's protocol over ``websockets``, with our limits.

The connection stays the one that it was as HTTP: counted among the open ones, closed where its client does not read.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from asyncio.transports import BaseTransport
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame
from websockets.http11 import Request

from webhook.api.connections import BEGAN_AT, CONNECTION

SOCKET = "yurt.socket"
"""In the scope of a WebSocket: its `LimitedSocket`."""
_WAITING_BYTES = 512 << 10
"""Of messages that wait to be taken from a `MessageFlow`: then no more is read."""
_GATHERED_BYTES = 16 << 10
"""Of a message, up to which its parts are put together: one write is cheaper than several."""
_FINAL_BINARY = 0x82
"""First byte of a frame that is a whole binary message (RFC 6455, 5.2)."""
MAX_EARLY_BYTES = 64 * 1024
"""Of what a client sends before it was let in."""
PING_SECONDS = 20.0
"""Between two pings, and for each answer."""

_LOGGER = logging.getLogger("yurt.web_sockets")
"""Of the libraries: each connection is an INFO, with its whole URL."""
_LOGGER.setLevel(logging.WARNING)


class UpgradedConnection(Protocol):
    """The HTTP connection that a WebSocket was."""

    def abort(self) -> None:
        """Close the connection at once."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the client has gone."""

    def pause_writing(self) -> None:
        """Note that the client does not read what it was sent."""

    def resume_writing(self) -> None:
        """Note that the client has read."""


class LimitedSocket(WebSocketsSansIOProtocol):
    """One WebSocket, on the connection of the request that asked for it."""

    def __init__(
        self,
        http: UpgradedConnection,
        began_at: float,
        config: Config,
        state: ServerState,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, state, {}, loop)
        self.logger = self.conn.logger = _LOGGER
        self._http = http
        self._began_at = began_at
        self._early_bytes = 0
        self._flow: MessageFlow | None = None

    def flow(self) -> MessageFlow:
        """Begin to take and give messages here, and not by the ASGI messages. Only after the client was let in."""
        if self._flow is None:
            self._flow = MessageFlow(self)
            while not self.queue.empty():  # what came before
                message: Mapping[str, Any] = self.queue.get_nowait()
                if message["type"] == "websocket.receive":
                    self._flow.take(message.get("bytes", ""))
                else:
                    self._flow.end()
            if self.read_paused:
                self.read_paused = False
                self.transport.resume_reading()
        return self._flow

    async def send_binary(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send a binary message that consists of these parts, once the client reads. Raises ConnectionError."""
        if not self.writable.is_set():
            await self.writable.wait()
        if self.disconnected or self.close_sent or self.transport.is_closing():
            raise ConnectionResetError("the WebSocket was closed")
        size = sum(map(len, parts))
        header = _frame_header(size)
        if size <= _GATHERED_BYTES:
            self.transport.write(b"".join((header, *parts)))
        else:
            self.transport.writelines((header, *parts))

    def send_receive_event_to_app(self) -> None:
        """Pass a message on."""
        if self._flow is None:
            super().send_receive_event_to_app()
            return
        data, self.frames = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames), []
        self._flow.take(data if self.curr_msg_data_type == "bytes" else "")

    def handle_close(self, event: Frame) -> None:
        """Note that the client closes the WebSocket."""
        super().handle_close(event)
        if self._flow is not None:
            self._flow.end()

    def shutdown(self) -> None:
        """Close the WebSocket, since this process stops."""
        super().shutdown()
        if self._flow is not None:
            self._flow.end()

    def begin(self, transport: BaseTransport, head: bytes, rest: bytes) -> None:
        """Take over a connection after the head of the request that asks for a WebSocket."""
        self.connection_made(transport)
        self._early_bytes = -len(head)
        self.data_received(head + rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the client has gone, for the connection as well."""
        super().connection_lost(exc)
        if self._flow is not None:
            self._flow.end()
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the connection's clock: the client does not read what it was sent."""
        super().pause_writing()
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """Stop the connection's clock."""
        super().resume_writing()
        self._http.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take bytes, few of them before the client was let in."""
        if not self.handshake_complete:
            self._early_bytes += len(data)
            if self._early_bytes > MAX_EARLY_BYTES:
                self._http.abort()
                return
        super().data_received(data)

    def handle_connect(self, event: Request) -> None:
        """Begin the ASGI request, with what requests over HTTP have in their scope."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope[SOCKET] = self  # type: ignore[literal-required]
            self.scope[CONNECTION] = self._http  # type: ignore[literal-required]
            self.scope[BEGAN_AT] = self._began_at  # type: ignore[literal-required]


class MessageFlow:
    """The messages of an accepted WebSocket, past ASGI: nothing is queued twice, and what goes out is not copied."""

    def __init__(self, socket: LimitedSocket) -> None:
        self._socket = socket
        self._messages: deque[bytes | str] = deque()
        self._bytes = 0
        self._is_paused = False
        self._has_ended = False
        self._arrived: asyncio.Future[None] | None = None

    async def receive(self) -> bytes | str:
        """Return the next message; a text is empty. Raises ConnectionError once the WebSocket was closed."""
        while not self._messages:
            if self._has_ended:
                raise ConnectionResetError("the WebSocket was closed")
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        message = self._messages.popleft()
        self._bytes -= len(message)
        if self._is_paused and self._bytes < _WAITING_BYTES:
            self._is_paused = False
            self._socket.transport.resume_reading()
        return message

    async def send(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send a binary message that consists of these parts, once the client reads. Raises ConnectionError."""
        await self._socket.send_binary(parts)

    def take(self, message: bytes | str) -> None:
        """Take a message that has come, for a text an empty one."""
        self._messages.append(message)
        self._bytes += len(message)
        if self._bytes >= _WAITING_BYTES and not self._is_paused:
            self._is_paused = True
            self._socket.transport.pause_reading()
        self._wake()

    def end(self) -> None:
        """Note that no more messages will come."""
        self._has_ended = True
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


def _frame_header(size: int) -> bytes:
    """What stands before a binary message of so many bytes that a server sends."""
    if size < 126:
        return bytes((_FINAL_BINARY, size))
    if size < 1 << 16:
        return struct.pack(">BBH", _FINAL_BINARY, 126, size)
    return struct.pack(">BBQ", _FINAL_BINARY, 127, size)
