"""Passes the messages of a client's WebSocket on to a service's server, and the server's back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import NoReturn, Self

from starlette.types import Receive, Send

from webhook.proxy.exchange import (
    ForwardedRequest,
    Headers,
    MachineLost,
    ServerNonsense,
    ServiceSocket,
    SocketClosed,
    UpgradeRefused,
)
from webhook.proxy.headers import answer_headers
from webhook.proxy.queue import ServiceQueue

GONE, LOST, STALLED, TOO_LARGE = 1001, 1011, 1008, 1009
"""Codes with which a WebSocket is closed (RFC 6455, 7.4)."""


class _ClientClosed(Exception):
    """The client has closed the WebSocket."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}")
        self.code = code
        self.reason = reason


async def pass_socket(
    queue: ServiceQueue,
    request: ForwardedRequest,
    subprotocols: list[str],
    receive: Receive,
    send: Send,
    *,
    shared_origin: bool,
) -> None:
    """Open a WebSocket at a machine of the service, accept the client's, and pass messages on until one side closes.

    A handshake that the server has surely not seen goes back to the head of the queue.
    Raises, before the client's was accepted: NoSlot, MachineLost, ServerNonsense, UpgradeRefused, TimeoutError.
    """
    settings, begun, since = queue.settings, queue.now, None
    async with _HandshakeWait(receive) as waiting:
        while True:
            try:
                async with (
                    queue.turn(since=since) as turn,
                    asyncio.timeout(settings.answer_seconds) as deadline,
                    turn.way.upgrade(request, subprotocols) as socket,
                ):
                    deadline.reschedule(None)
                    headers = _checked(socket.headers, shared_origin=shared_origin)
                    await waiting.end()
                    await pass_messages(socket, headers, receive, send, settings.stall_seconds)
                    return
            except UpgradeRefused as refused:
                raise _passed_on(refused, shared_origin=shared_origin) from None
            except MachineLost as lost:
                if not lost.unsent:
                    raise
                since = begun


class _HandshakeWait:
    """Cancels what is done in an ``async with`` block once the client has left, until the wait ends.

    So a client that leaves while it waits for a machine leaves the queue, too.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._has_left = False
        self._task: asyncio.Task[object] | None = None
        self._watching: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        await self.end()
        if not self._has_left or kind is not asyncio.CancelledError or self._task is None:
            return False
        self._task.uncancel()
        return True

    async def end(self) -> None:
        """Let what the client sends from now on be received by others."""
        self._watching.cancel()
        await asyncio.wait([self._watching])

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "websocket.disconnect":
            pass  # before it was accepted a client can say nothing else
        self._has_left = True
        assert self._task is not None
        self._task.cancel()


def _passed_on(refused: UpgradeRefused, *, shared_origin: bool) -> UpgradeRefused:
    """The refusal as the client is given it. Raises ServerNonsense."""
    if not 200 <= refused.status <= 599:
        raise ServerNonsense(f"the server answered the handshake with status {refused.status}")
    headers = _checked(refused.headers, shared_origin=shared_origin)
    length = (b"content-length", b"%d" % len(refused.body))  # of what is left of it
    return UpgradeRefused(refused.status, [*(h for h in headers if h[0] != length[0]), length], refused.body)


def _checked(headers: Headers, *, shared_origin: bool) -> Headers:
    try:
        return answer_headers(headers, shared_origin=shared_origin)
    except ValueError as error:
        raise ServerNonsense(str(error)) from None


async def pass_messages(
    socket: ServiceSocket, headers: Headers, receive: Receive, send: Send, stall_seconds: float
) -> None:
    """Accept the client's WebSocket with these headers, and pass messages on until one side closes."""
    try:
        await send({"type": "websocket.accept", "subprotocol": socket.subprotocol, "headers": [*headers]})
    except OSError:  # the client has gone meanwhile
        await socket.close(GONE, "")
        return
    if (close := await _passed(socket, receive, send, stall_seconds)) is not None:
        code, reason = close
        with contextlib.suppress(OSError):  # the client has just gone
            await send({"type": "websocket.close", "code": code, "reason": reason})


async def _passed(socket: ServiceSocket, receive: Receive, send: Send, stall_seconds: float) -> tuple[int, str] | None:
    """Pass messages both ways.

    Returns with which code and reason the client's side is to be closed; None: the client has closed it, or is gone.
    """
    try:
        async with asyncio.timeout(stall_seconds) as quiet, asyncio.TaskGroup() as group:
            group.create_task(_to_server(socket, receive, quiet, stall_seconds))
            group.create_task(_to_client(socket, send, quiet, stall_seconds))
    except TimeoutError:
        await socket.close(GONE, "")
        return STALLED, f"nothing was said for {stall_seconds:g} s"
    except BaseExceptionGroup as errors:
        return await _reason(socket, errors)
    raise AssertionError("both directions end with an error only")


async def _reason(socket: ServiceSocket, errors: BaseExceptionGroup[BaseException]) -> tuple[int, str] | None:
    error = errors.exceptions[0]
    match error:
        case _ClientClosed():
            await socket.close(error.code, error.reason)
            return None
        case OSError():  # what it was sent has not reached the client
            await socket.close(GONE, "")
            return None
        case SocketClosed():
            return error.code, error.reason
        case MachineLost():
            return LOST, "the machine was lost"
        case _:
            raise errors


async def _to_server(socket: ServiceSocket, receive: Receive, quiet: asyncio.Timeout, stall_seconds: float) -> NoReturn:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            raise _ClientClosed(message.get("code") or GONE, message.get("reason") or "")
        if message["type"] == "websocket.receive":
            quiet.reschedule(asyncio.get_running_loop().time() + stall_seconds)
            text = message.get("text")
            await socket.send(text if text is not None else message.get("bytes") or b"")


async def _to_client(socket: ServiceSocket, send: Send, quiet: asyncio.Timeout, stall_seconds: float) -> NoReturn:
    while True:
        message = await socket.receive()
        quiet.reschedule(asyncio.get_running_loop().time() + stall_seconds)
        kind = "text" if isinstance(message, str) else "bytes"
        await send({"type": "websocket.send", kind: message})
