"""Requests that go through to a service's server, its answers, and upgrades to WebSockets: what every way to a machine
has in common.

Header names are in lower case. Only end-to-end headers are among them: each way frames bodies itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

REFUSAL_BYTES = 64 << 10
"""Of the body of an answer to a handshake that opens no WebSocket."""
Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values, in the order in which they came."""


@dataclass(slots=True)  # made for each request: a frozen one takes three times as long
class ForwardedRequest:
    """One request as it is sent to the server of a service."""

    method: str
    target: bytes
    """Path and query in origin form, as they were sent: nothing is decoded."""
    headers: Headers = field(repr=False)
    """With ``host``."""
    body: AsyncIterator[bytes]
    """Is asked for the next chunk once the last one is on its way: that is the back pressure."""
    body_bytes: int | None = 0
    """Length of the body; None: it is known at its end only."""


@dataclass(slots=True)
class ForwardedAnswer:
    """The server's answer: its head is there, its body comes."""

    status: int
    headers: Headers = field(repr=False)
    body: AsyncIterator[bytes | memoryview]
    """Chunks as they come from the server, unbuffered: server-sent events depend on it. Raises MachineLost."""


class ServiceSocket(Protocol):
    """A WebSocket to the server of a service."""

    subprotocol: str | None
    """Which the server has chosen."""
    headers: Headers
    """Of the server's 101, without those of the handshake."""

    async def receive(self) -> str | bytes:
        """Return the server's next message. Raises SocketClosed, MachineLost."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Send the server a message. Raises SocketClosed, MachineLost."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close it in the client's name."""
        ...


class ServiceMachine(Protocol):
    """One way to the server of a service on one machine."""

    def exchange(self, request: ForwardedRequest) -> AbstractAsyncContextManager[ForwardedAnswer]:
        """Send a request; yield the answer once its head has come. Leaving before its body's end cancels the request.

        Raises:
            MachineLost: the connection to the machine broke, or the machine says that its server is not there.
            ServerNonsense: the server answered what is no HTTP, or more than its limits allow.

        """
        ...

    def upgrade(
        self, request: ForwardedRequest, subprotocols: Sequence[str]
    ) -> AbstractAsyncContextManager[ServiceSocket]:
        """Open a WebSocket. Raises UpgradeRefused beside the errors of ``exchange``."""
        ...


class MachineLost(Exception):
    """The machine, its server, or the way to it is gone in the midst of a request."""

    def __init__(
        self, message: str, *, body_consumed: bool = False, answered: bool = False, unsent: bool = False
    ) -> None:
        """Make the error.

        ``body_consumed``: some of the request's body was read. ``answered``: a part of the answer has come. ``unsent``:
        the server has surely not seen the request.
        """
        super().__init__(message)
        self.body_consumed = body_consumed
        self.answered = answered
        self.unsent = unsent


class ServerNonsense(Exception):
    """The server's answer cannot be passed on: no HTTP, or a head beyond its limits."""


class UpgradeRefused(Exception):
    """The server answered a WebSocket's handshake with an ordinary answer."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        """``body`` is cut off at `REFUSAL_BYTES`."""
        super().__init__(f"the server answered the handshake with {status}")
        self.status = status
        self.headers = headers
        self.body = body[:REFUSAL_BYTES]


class SocketClosed(Exception):
    """The WebSocket was closed by the server's side."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code}")
        self.code = code
        self.reason = reason
