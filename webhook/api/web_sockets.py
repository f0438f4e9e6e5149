"""WebSockets: uvicorn's protocol over ``websockets``, with our limits.

The connection stays the one that it was as HTTP: counted among the open ones, closed where its client does not read.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio.transports import BaseTransport
from typing import Protocol

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import Request

from webhook.api.connections import BEGAN_AT, CONNECTION

MAX_MESSAGE_BYTES = 16 << 20
"""Of one message that comes in."""
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

    def begin(self, transport: BaseTransport, head: bytes, rest: bytes) -> None:
        """Take over a connection after the head of the request that asks for a WebSocket."""
        self.connection_made(transport)
        self._early_bytes = -len(head)
        self.data_received(head + rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the client has gone, for the connection as well."""
        super().connection_lost(exc)
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
            self.scope[CONNECTION] = self._http  # type: ignore[literal-required]
            self.scope[BEGAN_AT] = self._began_at  # type: ignore[literal-required]
