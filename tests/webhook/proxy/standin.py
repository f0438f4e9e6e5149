"""A stand-in for a service's server: it echoes, streams, hangs and breaks off on demand. Real HTTP, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

CHUNK = b"x" * 65_536


@dataclass
class ServerStandIn:
    """The server, and what it was asked."""

    port: int = 0
    requests: list[tuple[str, bytes, dict[bytes, list[bytes]]]] = field(default_factory=list)
    """Method, target and headers of each request."""
    under_way: int = 0
    most_at_once: int = 0
    received_bytes: int = 0
    cancelled: int = 0
    """Requests whose other end left before the answer was complete."""
    connections: set[asyncio.Task[None]] = field(default_factory=set)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends ``/wait``."""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._one(reader, writer):
                    pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        line, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        method, target, _ = line.split(b" ")
        headers: dict[bytes, list[bytes]] = {}
        for each in rest:
            name, _, value = each.partition(b":")
            headers.setdefault(name.lower(), []).append(value.strip())
        self.requests.append((method.decode(), target, headers))
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            answer = self._answers.get(target.partition(b"?")[0], ServerStandIn._echo)
            return await answer(self, method, headers, reader, writer)
        except ConnectionError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1

    async def _body(self, headers: dict[bytes, list[bytes]], reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        if b"transfer-encoding" in headers:
            while size := int(await reader.readline(), 16):
                yield await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
            return
        left = int(headers.get(b"content-length", [b"0"])[0])
        while left:
            chunk = await reader.readexactly(min(left, 65_536))
            left -= len(chunk)
            yield chunk

    async def _echo(self, method: bytes, headers: dict[bytes, list[bytes]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:  # fmt: skip  # noqa: E501
        body = b"".join([chunk async for chunk in self._body(headers, reader)])
        said = json.dumps({"method": method.decode(), "target": self.requests[-1][1].decode("latin-1"), "body": body.decode("latin-1")})  # noqa: E501  # fmt: skip
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"
            b"keep-alive: timeout=5\r\nx-secret-hop: 1\r\nconnection: x-secret-hop\r\nvia: 1.0 inner\r\n"
            b"content-length: %d\r\n\r\n" % len(said)
        )
        writer.write(b"" if method == b"HEAD" else said.encode())
        await writer.drain()
        return True

    async def _events(self, method: bytes, headers: dict[bytes, list[bytes]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:  # fmt: skip  # noqa: E501
        """Say one event, and the next one only when it is let go."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"e\r\ndata: first\n\n \r\n")
        await writer.drain()
        await self._gone_or_let_go(reader)
        writer.write(b"e\r\ndata: second\n\n\r\n0\r\n\r\n")
        await writer.drain()
        return True

    async def _wait(self, method: bytes, headers: dict[bytes, list[bytes]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:  # fmt: skip  # noqa: E501
        await self._gone_or_let_go(reader)
        return await self._echo(method, headers, reader, writer)

    async def _sink(self, method: bytes, headers: dict[bytes, list[bytes]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:  # fmt: skip  # noqa: E501
        """Take a body, and forget it."""
        async for chunk in self._body(headers, reader):
            self.received_bytes += len(chunk)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        return True

    async def _flood(self, method: bytes, headers: dict[bytes, list[bytes]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:  # fmt: skip  # noqa: E501
        """Send as many bytes as ``x-bytes`` asks for."""
        size = int(headers[b"x-bytes"][0])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while size:
            writer.write(CHUNK[: min(size, len(CHUNK))])
            size -= min(size, len(CHUNK))
            await writer.drain()
        return True

    async def _break(self, method: bytes, headers: dict[bytes, list[bytes]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:  # fmt: skip  # noqa: E501
        """Break off within the answer."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await writer.drain()
        return False

    async def _die(self, method: bytes, headers: dict[bytes, list[bytes]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:  # fmt: skip  # noqa: E501
        """Break off without an answer."""
        return False

    async def _nonsense(self, method: bytes, headers: dict[bytes, list[bytes]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:  # fmt: skip  # noqa: E501
        writer.write(b"\x00\x01 what?\r\n\r\n")
        await writer.drain()
        return False

    async def _not_modified(self, *_: object) -> bool:
        return self._without_body(_[3], b"304 Not Modified")

    async def _no_content(self, *_: object) -> bool:
        return self._without_body(_[3], b"204 No Content")

    def _without_body(self, writer: object, status: bytes) -> bool:
        assert isinstance(writer, asyncio.StreamWriter)
        writer.write(b'HTTP/1.1 %s\r\netag: "a"\r\ncontent-length: 5\r\n\r\n' % status)
        return True

    async def _gone_or_let_go(self, reader: asyncio.StreamReader) -> None:
        """Raises ConnectionError when the other end leaves first."""
        gone, let_go = asyncio.ensure_future(reader.read(1)), asyncio.ensure_future(self.let_go.wait())
        await asyncio.wait({gone, let_go}, return_when=asyncio.FIRST_COMPLETED)
        let_go.cancel()
        if gone.done():
            raise ConnectionResetError
        gone.cancel()
        await asyncio.wait({gone})

    _answers: dict[bytes, Callable[..., Awaitable[bool]]] = field(
        default_factory=lambda: {
            b"/events": ServerStandIn._events,
            b"/wait": ServerStandIn._wait,
            b"/sink": ServerStandIn._sink,
            b"/flood": ServerStandIn._flood,
            b"/break": ServerStandIn._break,
            b"/die": ServerStandIn._die,
            b"/nonsense": ServerStandIn._nonsense,
            b"/304": ServerStandIn._not_modified,
            b"/204": ServerStandIn._no_content,
        }
    )


@contextlib.asynccontextmanager
async def standing_in() -> AsyncIterator[ServerStandIn]:
    """Run a stand-in."""
    stand_in = ServerStandIn()
    server = await asyncio.start_server(stand_in.handle, "127.0.0.1", 0)
    stand_in.port = server.sockets[0].getsockname()[1]
    try:
        yield stand_in
    finally:
        server.close()
        for connection in [*stand_in.connections]:
            connection.cancel()
        await asyncio.gather(*stand_in.connections, return_exceptions=True)
