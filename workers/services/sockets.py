"""Answers requests for WebSockets: opens one to the server on this machine, and passes messages on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI

from workers.concurrency import first_of
from workers.handlers.http.handler import HOST
from workers.services.local_http import CONNECT_SECONDS, ServerAbsent, ServerGarbled
from workers.tunnel.frames import Kind, code_and_reason, coded, sendable
from workers.tunnel.heads import AnswerHead, RequestHead
from workers.tunnel.stream import MAX_SOCKET_MESSAGE_BYTES, TunnelStream

_ANSWER_SECONDS = 60.0
"""For the server's answer to a handshake."""
_REFUSAL_BYTES = 64 << 10
_PROTOCOL = "sec-websocket-protocol"
_GONE = 1001
_HANDSHAKE = frozenset({"host", "connection", "upgrade", "content-length", "transfer-encoding", "date", "server"})


async def answer_upgrade(stream: TunnelStream, head: RequestHead, port: int) -> None:
    """Open a WebSocket and pass messages on until one side closes it, or answer with the server's refusal.

    Raises StreamEnded, ServerAbsent, ServerGarbled.
    """
    try:
        socket = await _connected(head, port)
    except InvalidStatus as refused:
        await _pass_refusal(stream, refused)
        return
    except (OSError, TimeoutError):
        raise ServerAbsent(f"nothing answers on port {port} of the machine") from None
    except (InvalidHandshake, InvalidMessage, InvalidURI) as error:
        raise ServerGarbled(f"the server's answer to the handshake is none: {error}") from None
    try:
        response = socket.response
        assert response is not None, "it is open"
        own = [(b"sec-websocket-protocol", socket.subprotocol.encode())] if socket.subprotocol else []
        stream.send(Kind.ANSWER, AnswerHead(101, [*_end_to_end(response.headers), *own]).encoded())
        await first_of(_to_server(stream, socket), _to_client(stream, socket))
    finally:
        await socket.close(_GONE)


async def _connected(head: RequestHead, port: int) -> ClientConnection:
    texts = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
    offered = [value for name, value in texts if name == _PROTOCOL]
    named = next((value for name, value in texts if name == "host"), f"{HOST}:{port}")
    return await connect(
        f"ws://{named}{head.target.decode('latin-1')}",
        host=HOST,
        port=port,
        subprotocols=offered or None,  # type: ignore[arg-type]
        additional_headers=[header for header in texts if header[0] not in _HANDSHAKE and not _is_own(header[0])],
        user_agent_header=None,
        compression=None,
        proxy=None,
        open_timeout=CONNECT_SECONDS + _ANSWER_SECONDS,
        max_size=MAX_SOCKET_MESSAGE_BYTES,
        max_queue=4,
        ping_interval=None,  # both ends are on this machine
        close_timeout=2.0,
    )


async def _to_server(stream: TunnelStream, socket: ClientConnection) -> None:
    parts: list[bytes | memoryview] = []
    while True:
        kind, payload = await stream.next()
        if kind is Kind.CLOSE:
            code, reason = code_and_reason(payload)
            await socket.close(sendable(code), reason[:100])
            stream.send(Kind.CLOSE, coded(sendable(code), ""))
            return
        parts.append(payload)
        if kind is not Kind.PART:
            message, parts = b"".join(parts), []
            try:
                await socket.send(message, text=kind is Kind.TEXT)
            except ConnectionClosed:  # the other direction knows why, and ends this one
                await asyncio.get_running_loop().create_future()


async def _to_client(stream: TunnelStream, socket: ClientConnection) -> None:
    try:
        while True:
            message = await socket.recv()
            if isinstance(message, str):
                await stream.send_data(message.encode(), Kind.TEXT)
            else:
                await stream.send_data(message, Kind.BINARY)
    except ConnectionClosed as closed:
        received = closed.rcvd
        code, reason = (received.code, received.reason) if received else (1011, "the server has gone")
        stream.send(Kind.CLOSE, coded(sendable(code), reason))


async def _pass_refusal(stream: TunnelStream, refused: InvalidStatus) -> None:
    response = refused.response
    stream.send(Kind.ANSWER, AnswerHead(response.status_code, _end_to_end(response.headers)).encoded())
    if body := bytes(response.body or b"")[:_REFUSAL_BYTES]:
        await stream.send_data(body)
    stream.send(Kind.END)


def _end_to_end(headers: Headers) -> list[tuple[bytes, bytes]]:
    pairs: Iterable[tuple[str, str]] = headers.raw_items()
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in pairs
        if name.lower() not in _HANDSHAKE and not _is_own(name.lower())
    ]


def _is_own(name: str) -> bool:
    """Whether a header is of the handshake itself."""
    return name.startswith("sec-websocket-")
