"""A machine in memory: the control plane's side of a tunnel, and a worker's requests to a server of the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.stream_server import stream_server
from tests.workers.tunnel.wires import MemoryWire, linked
from webhook.proxy.exchange import ForwardedRequest
from webhook.proxy.tunnel_machine import TunnelMachine
from workers.concurrency import end
from workers.protocol import ServiceOrder
from workers.services.requests import ServiceRequests

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
TOKEN = "token-of-the-gate-0123456789"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class TunnelledServer:
    """What a test has of it."""

    way: TunnelMachine
    requests: ServiceRequests
    wire: MemoryWire
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server sees a connection close."""


@contextlib.asynccontextmanager
async def machine(serve: Serve, concurrency: int = 8, *, port: int = 0) -> AsyncIterator[TunnelledServer]:
    """A machine whose server treats each connection with ``serve``; with ``port``, its server is another one."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        made.connections += 1
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            made.closed.set()
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    requests = ServiceRequests(port or server.sockets[0].getsockname()[1], concurrency)
    way = TunnelMachine()
    try:
        async with linked(requests.opened) as (plane, _, wire):
            way.links.append(plane)
            made = TunnelledServer(way, requests, wire)
            yield made
            await requests.aclose()
    finally:
        server.close()
        await end(tasks)


def request(
    method: str = "GET", target: bytes = b"/", *chunks: bytes, length: int | None = 0, **headers: bytes
) -> ForwardedRequest:
    """A request with these chunks as its body."""

    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    named = [(name.encode().replace(b"_", b"-"), value) for name, value in headers.items()]
    return ForwardedRequest(method, target, [(b"host", b"service.example"), *named], body(), length)


async def head_of(reader: asyncio.StreamReader) -> bytes:
    """The head of a request, as the server sees it."""
    return await reader.readuntil(b"\r\n\r\n")


async def whole(body: AsyncIterator[bytes | memoryview]) -> bytes:
    return b"".join([chunk async for chunk in body])


def order(**settings: Any) -> ServiceOrder:
    """An order of a worker."""
    return ServiceOrder.model_validate({"name": "echo", "port": 5000, "concurrency": 8, **settings})


@contextlib.asynccontextmanager
async def answering() -> AsyncIterator[ServiceRequests]:
    """Requests to a server that answers ok."""

    async def ok(reader: Reader, writer: Writer) -> None:
        while await head_of(reader):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with stream_server(ok) as port:
        requests = ServiceRequests(port, 8)
        try:
            yield requests
        finally:
            await requests.aclose()
