"""A TCP load balancer that can reset connections in the middle of a request or an answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Address = tuple[str, int] | Path
"""Host and port, or a Unix socket."""
Way = Literal["request", "answer"]

_CHUNK_BYTES = 64 * 1024
_CONNECT_SECONDS = 2.0


@dataclass(slots=True)
class Cut:
    """Reset the next connection with bytes in this direction, after a share of them was forwarded."""

    way: Way
    share: float
    """0: none of the bytes arrive, so that the answer to a request that took effect is lost."""
    after: int = 0
    """Chunks to forward before."""
    happened: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy:
    """Forwards connections to the backends in turn, skipping those that refuse."""

    def __init__(self, name: str, backends: Callable[[], Sequence[Address]]) -> None:
        self.name = name
        self.cuts = 0
        """Connections that were reset."""
        self._backends = backends
        self._turn = itertools.count()
        self._armed: list[Cut] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path | None = None) -> Address:
        """Listen on a Unix socket or a free loopback port."""
        if path is not None:
            self._server = await asyncio.start_unix_server(self._serve, path, limit=_CHUNK_BYTES)
            return path
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK_BYTES)
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def aclose(self) -> None:
        """Stop listening and abort all connections."""
        if self._server:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        if self._server:
            await self._server.wait_closed()

    def arm(self, cut: Cut) -> None:
        """Apply a cut to the next matching connection."""
        self._armed.append(cut)

    def disarm(self) -> None:
        """Drop all cuts that have not happened."""
        self._armed.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if (backend := await self._connect()) is None:
                _reset(writer)
                return
            self._open.add(backend[1])
            await self._join(reader, writer, *backend)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        backends = list(self._backends())
        turn = next(self._turn)
        for step in range(len(backends)):
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return await _open(backends[(turn + step) % len(backends)])
        return None

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        ways = {
            asyncio.create_task(self._pump(reader, far_writer, "request")),
            asyncio.create_task(self._pump(far_reader, writer, "answer")),
        }
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if any(task.result() for task in done):
                self.cuts += 1
                for end in (writer, far_writer):
                    _reset(end)
        finally:
            for task in ways:
                task.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._open.discard(far_writer)
            far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> bool:
        """Forward bytes until either side ends. Returns whether the connection was cut."""
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if cut := self._take(way):
                    writer.write(chunk[: int(len(chunk) * cut.share)])
                    with contextlib.suppress(ConnectionError):
                        await writer.drain()
                    cut.happened.set()
                    return True
                writer.write(chunk)
                await writer.drain()
        return False

    def _take(self, way: Way) -> Cut | None:
        for cut in self._armed:
            if cut.way == way and cut.after:
                cut.after -= 1
            elif cut.way == way:
                self._armed.remove(cut)
                return cut
        return None


async def _open(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, Path):
        return await asyncio.open_unix_connection(address, limit=_CHUNK_BYTES)
    return await asyncio.open_connection(*address, limit=_CHUNK_BYTES)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX and sock.fileno() >= 0:
        # SO_LINGER with zero seconds turns close() into a reset.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
