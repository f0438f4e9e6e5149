"""A server of a test's own on loopback: each connection is a call of a function."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def stream_server(handle: Handle) -> AsyncIterator[int]:
    """Serve connections with ``handle``, which may leave when the other end does. Yields the port.

    A connection is closed when ``handle`` has returned, and at the end of the block: one that is left open would fail
    whatever test the garbage collector finds it in.
    """
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await handle(reader, writer)
            writer.close()
        except asyncio.CancelledError:  # the block ends: not raised, or asyncio would log it
            writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        connections.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections)
