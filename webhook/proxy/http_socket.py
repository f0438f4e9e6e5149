"""WebSockets to a machine over HTTP/1.1: through the replica where its tunnel ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpcore
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from webhook.proxy.exchange import (
    Headers,
    MachineLost,
    ServerNonsense,
    SocketClosed,
    UpgradeRefused,
)
from workers import tls
from workers.tunnel.frames import sendable
from workers.tunnel.stream import MAX_SOCKET_MESSAGE_BYTES
from workers.tunnel.wires import DialledSocket

_WAITING_BYTES = 256 << 10
"""That the operating system has not taken yet."""
_OF_HANDSHAKE = frozenset(
    {"connection", "upgrade", "sec-websocket-accept", "sec-websocket-protocol", "sec-websocket-extensions"}
)


class HttpSocket:
    """A WebSocket that this process has opened: a `ServiceSocket`."""

    def __init__(self, connection: ClientConnection) -> None:
        assert connection.response is not None, "the handshake is over"
        self.subprotocol: str | None = connection.subprotocol
        self.headers: Headers = _raw(connection.response.headers, _OF_HANDSHAKE)
        self._connection = connection

    async def receive(self) -> str | bytes:
        """Return the server's next message. Raises SocketClosed, MachineLost."""
        try:
            return await self._connection.recv()
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    async def send(self, message: str | bytes) -> None:
        """Send the server a message. Raises SocketClosed, MachineLost."""
        try:
            await self._connection.send(message)
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    async def close(self, code: int, reason: str) -> None:
        """Close it in the client's name."""
        await self._connection.close(sendable(code), reason)


@contextlib.asynccontextmanager
async def opened_socket(url: httpcore.URL, headers: Headers, subprotocols: Sequence[str]) -> AsyncIterator[HttpSocket]:
    """Open a WebSocket. ``headers`` are those of the request, without ``host`` and those of the handshake.

    The caller limits how long it may take: the other end answers when the server has.
    Raises MachineLost, UpgradeRefused, ServerNonsense.
    """
    secure = url.scheme == b"https"
    options: dict[str, Any] = {"ssl": tls.context()} if secure else {}
    host = url.host.decode("ascii")
    host = f"[{host}]" if ":" in host else host
    address = f"{'wss' if secure else 'ws'}://{host}:{url.port or (443 if secure else 80)}"
    connecting = DialledSocket(
        address + _ascii(url.target),
        additional_headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers],
        subprotocols=[Subprotocol(each) for each in subprotocols if each] or None,
        compression=None,
        user_agent_header=None,
        proxy=None,
        open_timeout=None,
        max_size=MAX_SOCKET_MESSAGE_BYTES,
        max_queue=1,  # messages that wait here: a client that does not read holds back the server
        write_limit=_WAITING_BYTES,
        close_timeout=2.0,
        **options,
    )
    try:
        connection = await connecting
    except InvalidStatus as refused:
        answer = refused.response
        raise UpgradeRefused(answer.status_code, _raw(answer.headers, frozenset()), bytes(answer.body or b"")) from None
    except InvalidMessage as error:  # it ended in the midst of its answer
        raise MachineLost("the connection broke in the handshake") from error
    except (InvalidHandshake, ValueError) as error:
        raise ServerNonsense(f"the answer opens no WebSocket: {error}") from None
    except OSError as error:
        refused_at_once = isinstance(error, ConnectionRefusedError)
        raise MachineLost(str(error) or "it cannot be connected to", unsent=refused_at_once) from error
    try:
        yield HttpSocket(connection)
    finally:
        await connection.close()


def _ascii(target: bytes) -> str:
    """A target with what is no ASCII of a URL percent-encoded."""
    return "".join(chr(byte) if 0x21 <= byte <= 0x7E and byte != 0x23 else f"%{byte:02X}" for byte in target)


def _raw(headers: Any, without: frozenset[str]) -> list[tuple[bytes, bytes]]:
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in headers.raw_items()
        if name.lower() not in without
    ]


def _ended(closed: ConnectionClosed) -> Exception:
    if closed.rcvd is None:
        return MachineLost("the connection broke", body_consumed=True, answered=True)
    return SocketClosed(closed.rcvd.code, closed.rcvd.reason)
