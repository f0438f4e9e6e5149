"""WebSockets of the ``websockets`` library, as connections of the service tunnel use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed

from workers import tls
from workers.outgoing import proxy_for
from workers.tunnel.frames import MAX_MESSAGE_BYTES, Payload
from workers.tunnel.link import LinkLost

OPEN_SECONDS = 10.0
PING_SECONDS = 20.0
"""Between two pings, and for each answer: a connection whose other end is gone is noticed after twice that."""
_WAITING_BYTES = 256 << 10
"""That the operating system has not taken yet."""
_OVERHEAD_BYTES = 512 << 10
"""Of frames beyond ``MAX_MESSAGE_BYTES``: the last one is put into a message whole."""


class LibraryWire:
    """A `MessageWire` over a connection that is open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def receive(self) -> bytes:
        """Return the next message. Raises LinkLost."""
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise _lost(error) from None

    async def send(self, parts: Sequence[Payload]) -> None:
        """Send a message that consists of these parts. Raises LinkLost."""
        try:
            await self._connection.send(b"".join(parts))
        except ConnectionClosed as error:
            raise _lost(error) from None


def _lost(error: ConnectionClosed) -> LinkLost:
    closed = error.rcvd
    return LinkLost(f"the connection was closed ({closed.code} {closed.reason})" if closed else "the connection broke")


def tunnel_options() -> dict[str, Any]:
    """Options of the library for connections of the tunnel, on either side."""
    return {
        "compression": None,  # bodies are compressed where their server does so
        "max_size": MAX_MESSAGE_BYTES + _OVERHEAD_BYTES,
        "write_limit": _WAITING_BYTES,
        "ping_interval": PING_SECONDS,
        "ping_timeout": PING_SECONDS,
        "close_timeout": 2.0,
    }


class DialledSocket(connect):
    """A connection that follows no redirect: the token is for the address that was named."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Take a redirect for a refusal."""
        return exc


def dial(url: str, token: str) -> connect:
    """Connect to an http:// or https:// URL as a WebSocket, through the proxy that the environment names.

    The connection is to be awaited, or entered. Raises OSError, TimeoutError, InvalidHandshake.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    options = tunnel_options() | ({"ssl": tls.context()} if secure else {})
    return DialledSocket(
        urlunsplit(parts._replace(scheme="wss" if secure else "ws")),
        additional_headers={"Authorization": f"Bearer {token}"},
        user_agent_header=None,
        proxy=proxy_for(url) or None,
        open_timeout=OPEN_SECONDS,
        **options,
    )
