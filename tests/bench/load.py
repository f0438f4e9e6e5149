"""Load generator: HTTP/1.1 over kept-alive connections, with little overhead of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit


class LoadConnection:
    """A kept-alive connection for one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, token: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = (
            f"\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: "
        )

    @classmethod
    async def open(cls, url: str, token: str) -> LoadConnection:
        """Connect to a control plane."""
        parts = urlsplit(url)
        assert parts.hostname
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 24)
        return cls(reader, writer, parts.netloc, token)

    async def get(self, path: str) -> bytes:
        """GET a resource. Returns the response's body. Raises RuntimeError where the status is not 2xx."""
        self._writer.write(f"GET {path} HTTP/1.1{self._head}0\r\n\r\n".encode())
        return await self._content()

    async def post(self, path: str, body: bytes) -> bytes:
        """POST a body. Returns the response's body. Raises RuntimeError where the status is not 2xx."""
        self._writer.write(f"POST {path} HTTP/1.1{self._head}{len(body)}\r\n\r\n".encode() + body)
        return await self._content()

    async def _content(self) -> bytes:
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        content = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"{head[:60]!r} {content[:500]!r}")
        return content

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


@dataclass(slots=True)
class Measured:
    """Result of a load run."""

    units: int = 0
    seconds: float = 0
    latencies: list[float] = field(default_factory=list)
    """Seconds of each request."""

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.seconds

    def percentile_ms(self, share: float) -> float:
        """Latency in milliseconds that a share of the requests does not exceed."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def run(tasks: int, work: Callable[[int], Awaitable[Callable[[], Awaitable[int]]]], seconds: float) -> Measured:
    """Run ``tasks`` loops for some seconds. ``work(n)`` prepares loop n and returns its call, which returns units.

    A call that returns 0 ends its loop.
    """
    measured = Measured()
    calls = [await work(number) for number in range(tasks)]
    start = time.perf_counter()

    async def loop(call: Callable[[], Awaitable[int]]) -> None:
        while (begun := time.perf_counter()) - start < seconds:
            units = await call()
            if not units:
                return
            measured.latencies.append(time.perf_counter() - begun)
            measured.units += units

    await asyncio.gather(*(loop(call) for call in calls))
    measured.seconds = time.perf_counter() - start
    return measured


def notification(numbers: Sequence[int] | range, bucket: str = "photos-in") -> bytes:
    """A Tigris notification of new objects with these numbers."""
    events = ",".join(
        '{"eventVersion":"1","eventSource":"tigris","eventName":"OBJECT_CREATED_PUT",'
        f'"eventTime":"2026-05-15T10:30:00.000Z","bucket":"{bucket}",'
        f'"object":{{"key":"{key_of(number)}","size":1048576,"eTag":"{number:032x}"}}}}'
        for number in numbers
    )
    return f'{{"events":[{events}]}}'.encode()


def key_of(number: int) -> str:
    """Key of an object of the benchmark."""
    return f"uploads/2026/05/photo-{number:09d}.jpg"


def chunks(first: int, size: int) -> Iterator[range]:
    """Endless consecutive ranges."""
    while True:
        yield range(first, first + size)
        first += size
