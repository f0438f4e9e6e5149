"""WebSockets of tests: two ends in memory, with as little room between them as a network has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from workers.concurrency import end
from workers.tunnel.link import LinkLost, Opened, TunnelLink


class MemoryWire:
    """One end."""

    def __init__(self, incoming: asyncio.Queue[bytes | None], outgoing: asyncio.Queue[bytes | None]) -> None:
        self.sent_bytes = 0
        self._incoming = incoming
        self._outgoing = outgoing

    async def receive(self) -> bytes:
        message = await self._incoming.get()
        if message is None:
            raise LinkLost("cut")
        return message

    async def send(self, parts: Sequence[bytes | memoryview]) -> None:
        message = b"".join(parts)
        self.sent_bytes += len(message)
        await self._outgoing.put(message)

    def cut(self) -> None:
        """Break the connection, for both sides."""
        for queue in (self._incoming, self._outgoing):
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(None)


def wire_pair() -> tuple[MemoryWire, MemoryWire]:
    there: asyncio.Queue[bytes | None] = asyncio.Queue(2)
    back: asyncio.Queue[bytes | None] = asyncio.Queue(2)
    return MemoryWire(back, there), MemoryWire(there, back)


@contextlib.asynccontextmanager
async def linked(opened: Opened) -> AsyncIterator[tuple[TunnelLink, TunnelLink, MemoryWire]]:
    """The control plane's link, the worker's, and the former's wire."""
    near, far = wire_pair()
    plane, worker = TunnelLink(near), TunnelLink(far, opened)
    tasks = [asyncio.create_task(link.run()) for link in (plane, worker)]
    try:
        yield plane, worker, near
    finally:
        await end(tasks)
