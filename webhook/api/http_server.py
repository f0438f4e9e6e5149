"""HTTP server: uvicorn with our limits, and with signals left to the process that runs it.

uvicorn and httptools take a request head of any size, and wait for its end for ever: any client that reaches the port
could fill the memory without a credential. Bodies have their limits in ``webhook.api.http.read_body``, where the caller
is known.

Nor has uvicorn a limit on connections that suits: `webhook.api.connections` has.

The rest of a body whose request was answered early (a 401, a 413) is read and thrown away, for a while: a client that
still sends would not see the answer if the connection were closed under it. A client that does not read its answer is
given up too.

A request for a WebSocket is taken up (`webhook.api.web_sockets`). Offers of other protocols are ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import ClassVar

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webhook.api.connections import BEGAN_AT, CONNECTION, Connections
from webhook.api.web_sockets import LimitedSocket
from webhook.proxy.early_answer import CONTINUE

MAX_HEAD_BYTES = 64 * 1024
"""Most consecutive bytes that are no body: request line and headers, or trailers and chunk extensions."""
_OFFER = (b"upgrade", b"connection", b"http2-settings")
"""Headers of a request that offers another protocol, as Java's client and ``curl --http2`` do over plain HTTP."""
HEAD_SECONDS = 15.0
"""Time limit for a request's head, from the connection or its first byte, and for the rest of an answered body."""

WRITE_SECONDS = 30.0
"""Time limit for a client to read what it was sent, where that is more than the network takes at once."""


class HttpServer(uvicorn.Server):
    """Runs uvicorn and leaves signals to the caller: uvicorn itself would end the process by the signal."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        """Set once connections are accepted."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets, then set ``listening``."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signal."""
        yield


def limited_by(connections: Connections) -> type[LimitedConnection]:
    """Make the class of a server's connections, for uvicorn's ``http`` setting."""
    return type("CountedConnection", (LimitedConnection,), {"counted": connections})


class LimitedConnection(HttpToolsProtocol):
    """Limits how large and how slow the head of a connection's request may be, and how slowly a client may read."""

    counted: ClassVar[Connections]
    """The server's open connections."""
    _head_bytes = 0
    is_lost = False
    """Whether the client has gone."""
    _is_web_socket = False
    _timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a client has connected. Hang up where there is no place for it."""
        super().connection_made(transport)
        self._watchers: list[Callable[[], object]] = []
        if self.counted.admit(self, self.client[0] if self.client else ""):
            self._start_timer()
        else:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock: the client has gone."""
        self.is_lost = True
        for watcher in [*self._watchers]:
            watcher()
        self.counted.left(self)
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def watch(self, lost: Callable[[], object]) -> None:
        """Have ``lost`` called when the client has gone."""
        self._watchers.append(lost)
        if self.is_lost:
            lost()

    def unwatch(self, lost: Callable[[], object]) -> None:
        """Have ``lost`` called no more."""
        self._watchers.remove(lost)

    def abort(self) -> None:
        """Close the connection at once, whether or not the client has read all that it was sent."""
        self.transport.abort()

    def go_on(self) -> None:
        """Tell a client whose request is not answered yet that the rest of its body is wanted: ``100 Continue``."""
        if not self.transport.is_closing():
            self.transport.write(CONTINUE)

    @property
    def group(self) -> str:
        """What the client's address is counted as; empty where it is not limited."""
        return self.counted.limits.group_of(self.client[0] if self.client else "") or ""

    def prove(self) -> None:
        """Note that the request has shown a valid credential."""
        self.counted.proven(self)

    def pause_writing(self) -> None:
        """Start the clock: the client does not read what it was sent."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_SECONDS, self.abort)

    def resume_writing(self) -> None:
        """Stop the clock: the client has read."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was idle for too long, though its client may not have read its last answer."""
        self.abort()

    def data_received(self, data: bytes) -> None:
        """Count bytes of a request, or of several, and refuse a head that is too long."""
        self._head_bytes += len(data)
        self._parse(data)
        if self._waits_for_head:
            self._start_timer()
        # Only after parsing: the end of a head and bytes of a body have set the count back by then.
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._hang_up(b"431 Request Header Fields Too Large")

    @property
    def _waits_for_head(self) -> bool:
        """Whether bytes came, and no request is under way: the head is not complete, or they begin none. They have
        ended the clock of an idle connection."""
        is_idle = self.cycle is None or self.cycle.response_complete
        return is_idle and self.timeout_keep_alive_task is None and not self._is_web_socket

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade as offer:
            rest = data[offer.args[0] :]
            if self._asks_for_web_socket():
                self._become_web_socket(rest)
            else:
                self._parse_without_offer(rest)

    def _asks_for_web_socket(self) -> bool:
        """Whether the request upgrades to a WebSocket, and is the only one that is under way."""
        idle = self.cycle is None or self.cycle.response_complete
        return idle and any(name == b"upgrade" and value.lower() == b"websocket" for name, value in self.headers)

    def _become_web_socket(self, rest: bytes) -> None:
        """Hand the connection over to a WebSocket, for good."""
        head = [self.parser.get_method() + b" " + self.url + b" HTTP/1.1"]
        head += [name + b": " + value for name, value in self.headers]
        began_at: float = self.scope[BEGAN_AT]  # type: ignore[literal-required]
        self.connections.discard(self)
        self._is_web_socket = True
        socket = LimitedSocket(self, began_at, self.config, self.server_state, self.loop)
        self.transport.set_protocol(socket)
        socket.begin(self.transport, b"\r\n".join([*head, b"", b""]), rest)

    def _parse_without_offer(self, rest: bytes) -> None:
        """Parse a request again without its offer of another protocol, which RFC 9110, 7.8, lets a server ignore.

        The parser stops behind the head of such a request, and takes the body for the other protocol.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("This is no proxy.")
            return
        head = [method + b" " + self.url + b" HTTP/1.1"]
        head += [name + b": " + value for name, value in self.headers if name not in _OFFER]
        if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
            head.append(b"connection: close")
        self.parser = httptools.HttpRequestParser(self)
        self._parse(b"\r\n".join([*head, b"", rest]))

    def on_message_begin(self) -> None:
        """Note when a request's first byte came. The clock starts where the bytes do not bring all of its head."""
        super().on_message_begin()
        self.scope[BEGAN_AT] = self.loop.time()  # type: ignore[literal-required]
        self.scope[CONNECTION] = self  # type: ignore[literal-required]
        self.counted.begun(self)

    def on_headers_complete(self) -> None:
        """Stop the clock: a request's head is complete."""
        self._stop_timer()
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Restart the count at bytes of a body, which have a limit of their own."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the clock at a request's last byte."""
        self._stop_timer()
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the clock again where a request was answered before its body had come."""
        super().on_response_complete()
        if not self.cycle.response_complete:  # one of several requests that were sent at once
            return
        self.counted.ended(self)
        if self.cycle.more_body:  # the rest of the body is read and dropped, but not for ever
            self._start_timer()

    def _start_timer(self) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(HEAD_SECONDS, self._hang_up, b"408 Request Timeout")

    def _stop_timer(self) -> None:
        self._head_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hang_up(self, status: bytes) -> None:
        """Close the connection, with a response where none was sent yet and none is under way."""
        if self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body):
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
