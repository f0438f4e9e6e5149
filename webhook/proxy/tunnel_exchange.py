"""Requests for a service's server over one connection of the service tunnel: exchanges, and WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

from webhook.proxy.exchange import (
    REFUSAL_BYTES,
    ForwardedAnswer,
    ForwardedRequest,
    Headers,
    MachineLost,
    ServerNonsense,
    SocketClosed,
    UpgradeRefused,
)
from workers.tunnel.frames import Kind, Payload, ResetCode, TunnelViolation, code_and_reason, coded
from workers.tunnel.heads import AnswerHead, HeadRefused, RequestHead
from workers.tunnel.link import LinkLost, TunnelLink
from workers.tunnel.stream import StreamEnded, TunnelStream

_PROTOCOL = b"sec-websocket-protocol"


class TunnelExchange:
    """One request on a stream of its own."""

    def __init__(self, link: TunnelLink, stream: TunnelStream, request: ForwardedRequest) -> None:
        self._link = link
        self._stream = stream
        self._request = request
        self._answered = False

    def begin(self, kind: Kind, headers: Headers) -> None:
        """Send the head. Raises ServerNonsense where it is too long to be sent."""
        request = self._request
        head = RequestHead(request.method, request.target, headers, request.body_bytes)
        try:
            self._stream.send(kind, head.encoded())
        except HeadRefused as error:
            raise ServerNonsense(f"the request cannot be sent: {error}") from None

    async def send_body(self) -> None:
        """Send the body as fast as the server takes it. What the body raises ends the exchange."""
        try:
            async for chunk in self._request.body:
                if chunk:
                    await self._stream.send_data(chunk)
            self._stream.send(Kind.END)
        except StreamEnded:
            pass  # whoever waits for the answer gets to know it
        except Exception as error:
            self._stream.fail(error)

    async def head(self) -> AnswerHead:
        """Wait for the head of the answer. Raises MachineLost, ServerNonsense, and what the body raised."""
        kind, payload = await self.next()
        if kind is not Kind.ANSWER:
            self._nonsense()
        self._answered = True
        try:
            return AnswerHead.decoded(payload)
        except TunnelViolation as error:
            raise ServerNonsense(str(error)) from None

    async def body(self) -> AsyncIterator[bytes | memoryview]:
        """The body of the answer, as it comes."""
        while True:
            kind, payload = await self.next()
            if kind is Kind.DATA:
                yield payload
            elif kind is Kind.END:
                return
            else:
                self._nonsense()

    async def next(self) -> tuple[Kind, Payload]:
        """Return the next frame of the stream."""
        try:
            return await self._stream.next()
        except StreamEnded as ended:
            raise self._error(ended) from None

    def _error(self, ended: StreamEnded) -> Exception:
        if ended.code is ResetCode.NONSENSE:
            return ServerNonsense(ended.reason)
        unsent = ended.code is ResetCode.UNSENT and not self._answered
        self._link.has_refused |= unsent
        consumed = self._stream.sent_bytes > 0
        return MachineLost(ended.reason, body_consumed=consumed, answered=self._answered, unsent=unsent)

    def _nonsense(self) -> NoReturn:
        raise ServerNonsense("the machine's agent answered what is no answer")


class ExchangeOver:
    """Sends a request over a connection; entered, it gives the answer once its head has come.

    See `ServiceMachine.exchange`.
    """

    def __init__(self, link: TunnelLink, request: ForwardedRequest) -> None:
        self._link = link
        self._request = request
        self._stream: TunnelStream
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ForwardedAnswer:
        request, stream = self._request, _opened(self._link)
        self._stream = stream
        exchange = TunnelExchange(self._link, stream, request)
        try:
            exchange.begin(Kind.REQUEST, request.headers)
            if request.body_bytes == 0:
                stream.send(Kind.END)
            else:
                self._sending = asyncio.create_task(exchange.send_body())
            head = await exchange.head()
        except BaseException:
            await self._end()
            raise
        return ForwardedAnswer(head.status, head.headers, exchange.body())

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _end(self) -> None:
        self._stream.close()
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])


@asynccontextmanager
async def upgrade_over(
    link: TunnelLink, request: ForwardedRequest, subprotocols: Sequence[str]
) -> AsyncIterator[TunnelSocket]:
    """Open a WebSocket over a connection. See `ServiceMachine.upgrade`."""
    stream = _opened(link)
    try:
        exchange = TunnelExchange(link, stream, request)
        offered = [(_PROTOCOL, each.encode("ascii", "replace")) for each in subprotocols]
        exchange.begin(Kind.UPGRADE, [*request.headers, *offered])
        head = await exchange.head()
        if head.status != 101:
            raise await _refusal(head, exchange)
        chosen = next((value.decode("ascii", "replace") for name, value in head.headers if name == _PROTOCOL), None)
        headers = [(name, value) for name, value in head.headers if name != _PROTOCOL]
        yield TunnelSocket(stream, exchange, chosen, headers)
    finally:
        stream.close()


class TunnelSocket:
    """A WebSocket over a stream: a `ServiceSocket`."""

    def __init__(
        self, stream: TunnelStream, exchange: TunnelExchange, subprotocol: str | None, headers: Headers
    ) -> None:
        self.subprotocol = subprotocol
        self.headers = headers
        self._stream = stream
        self._exchange = exchange

    async def receive(self) -> str | bytes:
        """Return the server's next message. Raises SocketClosed, MachineLost, ServerNonsense."""
        parts: list[Payload] = []
        while True:
            kind, payload = await self._exchange.next()
            parts.append(payload)
            if kind is Kind.TEXT:
                return b"".join(parts).decode("utf-8", "replace")
            if kind is Kind.BINARY:
                return b"".join(parts)
            if kind is Kind.CLOSE:
                raise _closed(payload)
            if kind is not Kind.PART:
                raise ServerNonsense("the machine's agent sent what is no message")

    async def send(self, message: str | bytes) -> None:
        """Send the server a message. Raises SocketClosed, MachineLost."""
        if self._stream.sent_end:
            raise SocketClosed(1006, "closed")
        try:
            if isinstance(message, str):
                await self._stream.send_data(message.encode(), Kind.TEXT)
            else:
                await self._stream.send_data(message, Kind.BINARY)
        except StreamEnded as ended:
            raise MachineLost(ended.reason, body_consumed=True, answered=True) from None

    async def close(self, code: int, reason: str) -> None:
        """Close it in the client's name."""
        if not self._stream.sent_end:
            self._stream.send(Kind.CLOSE, coded(code, reason))


def _opened(link: TunnelLink) -> TunnelStream:
    try:
        return link.open()
    except LinkLost as error:
        raise MachineLost(str(error), unsent=True) from None


async def _refusal(head: AnswerHead, exchange: TunnelExchange) -> UpgradeRefused:
    body = b""
    async for chunk in exchange.body():
        body += chunk
        if len(body) >= REFUSAL_BYTES:
            break
    return UpgradeRefused(head.status, head.headers, body)


def _closed(payload: Payload) -> Exception:
    try:
        return SocketClosed(*code_and_reason(payload))
    except TunnelViolation as error:
        return ServerNonsense(str(error))
