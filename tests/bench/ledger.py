"""Measures durable ingest and lease→complete over HTTP beside bare statements, with few and with a million rows."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from tests.bench import ceiling
from tests.bench.load import LoadConnection, Measured, chunks, notification, run
from tests.bench.plane import SECRET, BenchPlane, empty, fill, pipeline_number, serving
from tests.bench.report import BenchFigure

_SECONDS = 4.0
_INGEST = ((1, 64), (10, 32), (100, 32), (1000, 8))
_CONNECTIONS = (1, 4, 16)
_BATCHES = (1, 16)
_WAITING = 20_000
_FEW, _MANY = 10_000, 1_000_000
_FAR = 500_000_000
"""Distance between the object numbers of different steps."""


async def measure(folder: Path) -> list[BenchFigure]:
    """Measure all figures of this part."""
    rows: list[BenchFigure] = []
    with serving(folder) as plane:
        pipeline = await pipeline_number(plane.dsn)
        rows += await _ingests(plane, pipeline)
        rows += await _leasings(plane, pipeline)
        rows += await _scale(plane, pipeline)
    return rows


async def _ingests(plane: BenchPlane, pipeline: int) -> list[BenchFigure]:
    await empty(plane.dsn)
    await _ingest(plane, 100, 16, _FAR, 1.0)  # warm
    bare = await ceiling.upserts(plane.dsn, pipeline, 100, 2 * _FAR, _SECONDS)
    single = await ceiling.coalesced_inserts(plane.dsn, pipeline, 64, 3 * _FAR, _SECONDS)
    rows = [
        BenchFigure("bare upserts in batches of 100", bare.rate, "rows/s"),
        BenchFigure("bare coalesced inserts of 64 writers", single.rate, "rows/s"),
    ]
    first = 0
    for size, connections in _INGEST:
        await empty(plane.dsn)
        done = await _ingest(plane, size, connections, first, _SECONDS)
        first += _FAR // 10
        ratio = {1: (done.rate / single.rate, 0.15), 100: (done.rate / bare.rate, 0.4)}.get(size)
        rows.append(
            BenchFigure(
                f"durable ingest, bodies of {size}, {connections} connections",
                done.rate,
                "events/s",
                ratio=ratio[0] if ratio else None,
                at_least=ratio[1] if ratio else None,
                p50_ms=done.percentile_ms(0.5),
                p99_ms=done.percentile_ms(0.99),
                p99_at_most_ms=100 if size == 1 else None,
            )
        )
    return rows


async def _ingest(plane: BenchPlane, size: int, connections: int, first: int, seconds: float) -> Measured:
    numbers = chunks(first, size)

    async def prepare(_: int) -> Callable[[], Awaitable[int]]:
        connection = await LoadConnection.open(plane.url, SECRET)

        async def call() -> int:
            await connection.post("/v1/notifications/tigris", notification(next(numbers)))
            return size

        return call

    return await run(connections, prepare, seconds)


async def _leasings(plane: BenchPlane, pipeline: int) -> list[BenchFigure]:
    rows = []
    bare: dict[int, float] = {}
    for batch in _BATCHES:
        await empty(plane.dsn)
        await fill(plane.dsn, pipeline, _WAITING * 4, 0)
        bare[batch] = (await ceiling.claims(plane.dsn, pipeline, 1, batch, _SECONDS)).rate
        rows.append(BenchFigure(f"bare SKIP LOCKED claim and settle, batches of {batch}", bare[batch], "objects/s"))
    for batch in _BATCHES:
        for connections in _CONNECTIONS:
            await empty(plane.dsn)
            await fill(plane.dsn, pipeline, _WAITING, 0)
            done = await _lease(plane, connections, batch)
            rows.append(
                BenchFigure(
                    f"lease→complete, {connections} connections, batches of {batch}",
                    done.rate,
                    "objects/s",
                    ratio=done.rate / bare[batch],
                    at_least=0.25 if batch == 16 else None,
                    p50_ms=done.percentile_ms(0.5),
                    p99_ms=done.percentile_ms(0.99),
                )
            )
    return rows


async def _lease(plane: BenchPlane, connections: int, batch: int) -> Measured:
    """Each connection settles its leases and takes new ones in one round trip, until none are left."""

    async def prepare(_: int) -> Callable[[], Awaitable[int]]:
        connection = await LoadConnection.open(plane.url, plane.worker())
        settle: list[dict[str, object]] = []

        async def call() -> int:
            body = json.dumps({"max": batch, "settle": settle}).encode()
            response = msgspec.json.decode(await connection.post("/v1/leases", body))
            done = len(settle)
            settle[:] = [_done(lease) for lease in response["leases"]]
            return done or len(settle)

        return call

    return await run(connections, prepare, _SECONDS)


def _done(lease: dict[str, int]) -> dict[str, object]:
    outputs = [
        {"name": name, "etag": "0" * 32, "size": 1000, "content_type": "image/webp"}
        for name in ("256.webp", "512.webp", "1600.webp", "metadata.json", "result.json")
    ]
    fetched = {"etag": "0" * 32, "modified": "2026-05-15T10:30:00Z", "size": 1_048_576}
    return {"outcome": "done", "id": lease["id"], "token": lease["token"], "fetched": fetched, "outputs": outputs}


async def _scale(plane: BenchPlane, pipeline: int) -> list[BenchFigure]:
    """Measure the same, and the server's memory, with 10,000 and with 1,000,000 waiting rows."""
    rates: dict[str, list[float]] = {"ingest": [], "lease": []}
    memory: list[int] = []
    for waiting in (_FEW, _MANY):
        await empty(plane.dsn)
        await fill(plane.dsn, pipeline, waiting, _FAR)
        # As with new uploads, the keys follow those of the waiting rows.
        rates["ingest"].append((await _ingest(plane, 100, 32, _FAR + waiting, _SECONDS)).rate)
        rates["lease"].append((await _lease(plane, 16, 16)).rate)
        memory.append(plane.resident_bytes())
    rows = [
        BenchFigure(
            f"{name} at {_MANY:,} rows ÷ at {_FEW:,}",
            many,
            "events/s" if name == "ingest" else "objects/s",
            ratio=many / few,
            at_least=0.8,
        )
        for name, (few, many) in rates.items()
    ]
    growth = memory[1] / memory[0]
    return [
        *rows,
        BenchFigure(f"memory with {_MANY:,} rows waiting ÷ {_FEW:,}", memory[1] / 2**20, "MiB", growth, at_most=1.2),
    ]
