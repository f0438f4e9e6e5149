"""Measures server-sent events: from a settlement to the listener, and what thousands of listeners cost a replica."""

from __future__ import annotations

import asyncio
import random
import resource
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httpx
import msgspec

from tests.bench.load import LoadConnection, Measured
from tests.bench.plane import SECRET, BenchPlane, empty, fill, pipeline_number, serving
from tests.bench.report import BenchFigure

_LISTENERS = 5_000
_FEW = 10
_EVENTS = 1_000
_PER_SECOND = 100
_AT_ONCE = 100
"""Connections that are opened at once."""
_FAR = 10_000_000
_LATE_SECONDS = 10.0


class _StreamProtocol(asyncio.Protocol):
    """One stream, which notes when an event came."""

    def __init__(self, head: bytes, came: dict[bytes, float]) -> None:
        self._head = head
        self._came = came
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._head)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if b"id: " in data and not self.begun.done():
            self.begun.set_result(None)
        for part in data.split(b'"key":"')[1:]:
            self._came.setdefault(part.partition(b'"')[0], now)


async def measure(folder: Path) -> list[BenchFigure]:
    """Measure with few and with many listeners."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with serving(folder, YURT_SERVER__CONNECTIONS="8192", YURT_SERVER__CONNECTIONS_PER_ADDRESS="8192") as plane:
            return [*await _measured(plane, _FEW, 0), *await _measured(plane, _LISTENERS, _FAR)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _measured(plane: BenchPlane, listeners: int, first: int) -> list[BenchFigure]:
    await empty(plane.dsn)
    await fill(plane.dsn, await pipeline_number(plane.dsn), _EVENTS, first)
    token = await _token(plane)
    came: dict[bytes, float] = {}
    before = plane.resident_bytes()
    transports = await _listening(plane, token, listeners, first, came)
    told = await _settled(plane, came)
    bytes_each = (plane.resident_bytes() - before) / listeners
    for transport in transports:
        transport.close()
    missing = _EVENTS - len(came)
    many = listeners == _LISTENERS
    name = f"settled→event at a listener, {listeners} listeners, {_PER_SECOND} events/s"
    rows = [
        BenchFigure(
            name, told.rate, "events/s", p50_ms=told.percentile_ms(0.5), p99_ms=told.percentile_ms(0.99),
            p50_at_most_ms=20, p99_at_most_ms=100,
        ),
        BenchFigure(f"events that did not come, {listeners} listeners", missing, "events", at_most=0),
    ]  # fmt: skip
    if many:
        rows.append(BenchFigure("memory of a listener, of 5,000", bytes_each / 1024, "KiB", at_most=20))
    return rows


async def _token(plane: BenchPlane) -> str:
    body = {"name": "bench", "scopes": ["read:photos"], "calls_per_second": 100_000, "burst_calls": 100_000}
    async with httpx.AsyncClient() as http:
        made = await http.post(f"{plane.url}/v1/tokens", json=body, headers={"authorization": f"Bearer {SECRET}"})
    token: str = made.json()["token"]
    return token


async def _listening(
    plane: BenchPlane, token: str, number: int, first: int, came: dict[bytes, float]
) -> list[asyncio.BaseTransport]:
    """Open streams, each to the keys that end in its own number; all of them follow the same thousand objects."""
    place = urlsplit(plane.url)
    host, port = place.hostname or "", place.port or 0
    loop = asyncio.get_running_loop()
    transports: list[asyncio.BaseTransport] = []

    async def one(index: int) -> None:
        # Few listeners follow everything, many one object each: several may have the same.
        of_one = f"photo-{first + index % _EVENTS:09d}" if number > _EVENTS else ""
        target = f"/v1/events?pipeline=photos&prefix=uploads/2026/05/{of_one}"
        head = f"GET {target} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        transport, listener = await loop.create_connection(lambda: _StreamProtocol(head, came), host, port)
        transports.append(transport)
        await listener.begun

    for begin in range(0, number, _AT_ONCE):
        await asyncio.gather(*map(one, range(begin, min(begin + _AT_ONCE, number))))
    return transports


async def _settled(plane: BenchPlane, came: dict[bytes, float]) -> Measured:
    """Settle all objects at a steady rate. Returns the times from the settlement's request to the event."""
    connection = await LoadConnection.open(plane.url, plane.worker())
    sent: dict[bytes, float] = {}
    started = time.perf_counter()
    for number in range(_EVENTS):
        answer = msgspec.json.decode(await connection.post("/v1/leases", b'{"max": 1}'))
        [lease] = answer["leases"]
        await asyncio.sleep(max(0.0, started + number / _PER_SECOND - time.perf_counter()))
        sent[lease["key"].encode()] = time.perf_counter()
        await connection.post("/v1/leases", msgspec.json.encode({"max": 0, "settle": [_done(lease)]}))
    seconds = time.perf_counter() - started
    deadline = time.perf_counter() + _LATE_SECONDS
    while len(came) < _EVENTS and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
    return Measured(_EVENTS, seconds, [came[key] - at for key, at in sent.items() if key in came])


def _done(lease: dict[str, object]) -> dict[str, object]:
    version = {"etag": f"{random.getrandbits(64):x}"}
    return {"outcome": "done", "id": lease["id"], "token": lease["token"], "fetched": version, "outputs": []}
