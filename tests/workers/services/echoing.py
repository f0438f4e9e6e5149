"""A server of WebSockets that sends back what it is sent, behind a tunnel."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.workers.services.answering import Reader, TunnelledServer, Writer, machine

NAMES = [Subprotocol("b"), Subprotocol("a")]


class EchoingSockets:
    """The server, and what it was asked last."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.request: Request | None = None

    async def __call__(self, socket: ServerConnection) -> None:
        """Serve one WebSocket."""
        self.request = socket.request
        try:
            while True:
                message = await socket.recv()
                if message == "close":
                    await socket.close(4001, "as you wish")
                await socket.send(message)
        except ConnectionClosed as error:
            received = error.rcvd
            self.closed.set_result((received.code, received.reason) if received else (0, ""))

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse ``/refused``."""
        if request.path == "/refused":
            response = connection.respond(HTTPStatus.FORBIDDEN, "no socket for you")
            response.headers["Set-Cookie"] = "evil=1; Path=/"
            return response
        return None


@contextlib.asynccontextmanager
async def echoing() -> AsyncIterator[tuple[TunnelledServer, EchoingSockets]]:
    """A machine with such a server."""

    async def unused(_reader: Reader, _writer: Writer) -> None: ...

    echo = EchoingSockets()
    async with (
        serve(echo, "127.0.0.1", 0, subprotocols=NAMES, max_size=None, process_request=echo.check) as server,
        machine(unused, port=next(iter(server.sockets)).getsockname()[1]) as made,
    ):
        yield made, echo
