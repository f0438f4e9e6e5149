"""Measures the latency from upload to result: local bucket, notification, receiver, lease, worker, publishing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pyvips

from infra.stack import Stack, running
from tests.bench.report import BenchFigure
from tests.polling import wait_until
from webhook.config_file import load
from workers.handlers.registry import options_model
from workers.manifest import Manifest

_PHOTOS = 150
_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.02
_CONFIG = """
[server]
listen = "127.0.0.1:0"
autoscale_seconds = 0.2
[pipelines.photos]
input = "s3://photos-in/uploads/"
output = "s3://photos-out/results/"
pool = "local"
[pools.local]
provider = "local"
limit = 1
idle_seconds = 600
"""


async def measure(folder: Path) -> list[BenchFigure]:
    """Measure the first upload, which has to mint a worker, and those that find one."""
    return await asyncio.to_thread(_measure, folder)


def _measure(folder: Path) -> list[BenchFigure]:
    path = folder / "yurt.toml"
    path.write_text(_CONFIG)
    encoded = photo()
    with running(load(path, options_model), path, folder / "state") as stack:
        s3 = stack.s3()
        cold = _upload(s3, encoded, 0)
        ready = asyncio.run(_ready_seconds(stack, folder))
        warm = [_upload(s3, encoded, number) for number in range(1, _PHOTOS + 1)]
    beside = sorted(1000 * (total - handle) for total, handle in warm)
    whole = sorted(1000 * total for total, _ in warm)
    return [
        BenchFigure("mint→ready, local", ready, "s", at_most=1.5),
        BenchFigure("upload→result, no worker yet: minted for it", cold[0], "s"),
        BenchFigure(
            "upload→result, one warm worker, without the handler's own time",
            1000 / beside[len(beside) // 2],
            "photos/s",
            p50_ms=_share(beside, 0.5),
            p99_ms=_share(beside, 0.99),
            p50_at_most_ms=60,
            p99_at_most_ms=250,
        ),
        BenchFigure(
            "upload→result, one warm worker, in all",
            1000 / whole[len(whole) // 2],
            "photos/s",
            p50_ms=_share(whole, 0.5),
            p99_ms=_share(whole, 0.99),
        ),
    ]


def _upload(s3: Any, encoded: bytes, number: int) -> tuple[float, float]:
    """Seconds from the upload's response until the manifest was written, and of these in the handler.

    Both times come from this machine's clock. The manifest holds its own time and is written after all other outputs.
    """
    key = f"uploads/photo-{number:04d}.jpg"
    s3.put_object(Bucket="photos-in", Key=key, Body=encoded)
    uploaded = datetime.now(UTC)
    manifest = manifest_of(s3, f"results/{key}/result.json")
    return (manifest.finished_at - uploaded).total_seconds(), manifest.seconds.handle


def manifest_of(s3: Any, key: str) -> Manifest:
    """Wait for a manifest."""

    def published() -> Manifest | None:
        try:
            return Manifest.decode(s3.get_object(Bucket="photos-out", Key=key)["Body"].read())
        except s3.exceptions.NoSuchKey:
            return None

    manifest = wait_until(
        published, seconds=_WAIT_SECONDS, failure=f"no {key}", pause_seconds=_POLL_SECONDS, error=TimeoutError
    )
    assert manifest
    return manifest


async def _ready_seconds(stack: Stack, folder: Path) -> float:
    """Seconds from the intent to mint the first worker until it was ready, from the ledger."""
    connection = await asyncpg.connect(**postgres_socket(folder))
    seconds: float = await connection.fetchval(
        "select extract(epoch from ready_at - created_at)::float8 from workers "
        "where ready_at is not null order by id limit 1"
    )
    await connection.close()
    return seconds


def postgres_socket(folder: Path) -> dict[str, Any]:
    """How to connect to the PostgreSQL of a stack whose folder is ``state``."""
    [sockets] = [line for line in _postmaster(folder) if line.startswith("/")]
    password = str(folder / "state" / "postgres" / "password")
    return {"host": sockets, "user": "yurt", "database": "postgres", "passfile": password}


def _postmaster(folder: Path) -> list[str]:
    # Line 5 is the folder of the Unix socket; line 2, the data folder, begins with a slash as well.
    lines = (folder / "state" / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
    return [lines[4]]


def photo() -> bytes:
    """A small photo, so that the handler takes little of the time."""
    noise = pyvips.Image.perlin(800, 600, cell_size=64, seed=1) * 60 + 128
    encoded: bytes = noise.bandjoin([noise, noise]).cast("uchar").copy(interpretation="srgb").jpegsave_buffer(Q=85)
    return encoded


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
