"""Measures photos per CPU-second of the photo handler beside bare libvips with the same decode, resizes and encodes.

Runs in a process of its own with one thread of libvips, as in one slot of a worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.report import BenchFigure

_WIDTH, _HEIGHT = 4000, 3000
_SECONDS = 6.0


async def measure(folder: Path) -> list[BenchFigure]:
    """Measure the handler and the bare calls in turn, so that both run at the same speed of the machine."""
    done = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.photos",
        str(folder),
        stdout=subprocess.PIPE,
        env={**os.environ, "VIPS_CONCURRENCY": "1"},
    )
    output, _ = await done.communicate()
    figures = json.loads(output)
    return [
        BenchFigure("bare libvips: 1600, 512, 256 px WebP of 12 megapixels", figures["bare"], "photos/CPU-s"),
        BenchFigure(
            "photo handler, full set of 12 megapixels",
            figures["handler"],
            "photos/CPU-s",
            ratio=figures["handler"] / figures["bare"],
            at_least=0.85,
        ),
        BenchFigure("photo handler, JPEG as the HEIC below", figures["jpeg"], "photos/CPU-s"),
        BenchFigure(
            "photo handler, HEIC of 12.6 megapixels and 1.3 MB of HEVC",
            figures["heic"],
            "photos/CPU-s",
            ratio=figures["heic"] / figures["jpeg"],
        ),
    ]


def _main(folder: Path) -> None:
    import pyvips

    pyvips.cache_set_max(0)
    photo, heic, jpeg = folder / "photo.jpg", folder / "photo.heic", folder / "same.jpg"
    write_photo(photo)
    _heic(heic, jpeg)
    photos = 0
    # In pairs, the order changing: the machine's speed drifts.
    calls: dict[str, Callable[[], None]] = {
        "bare": lambda: _bare(photo, folder),
        "handler": lambda: _handle(photo),
        "jpeg": lambda: _handle(jpeg),
        "heic": lambda: _handle(heic),
    }
    seconds = dict.fromkeys(calls, 0.0)
    for call in calls.values():
        call()  # warm
    begun = time.monotonic()
    while time.monotonic() - begun < 4 * _SECONDS:
        for name in calls if photos % 2 else reversed(calls):
            seconds[name] += _cpu_seconds(calls[name])
        photos += 1
    print(json.dumps({name: photos / spent for name, spent in seconds.items()}))


def _cpu_seconds(call: Callable[[], None]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def _bare(photo: Path, folder: Path) -> None:
    import pyvips

    from workers.handlers.photo.options import PhotoOptions

    options = PhotoOptions()
    largest = pyvips.Image.thumbnail(str(photo), 1600, height=1600, size="down").copy_memory()
    for size in options.sizes:
        image = largest if size == 1600 else largest.thumbnail_image(size, height=size, size="down")
        image.webpsave(str(folder / f"{size}.webp"), Q=options.quality, effort=options.effort_of(size), keep="none")


def _handle(photo: Path) -> None:
    from workers.handlers import Job
    from workers.handlers.photo.handler import handle

    with tempfile.TemporaryDirectory() as output:
        handle(Job(input=photo, output=Path(output), key="uploads/photo.jpg", etag="0" * 32, options={}))


def write_photo(path: Path) -> None:
    """Write a test photo with smooth areas, edges and some noise, which costs a codec as much as a real one."""
    import pyvips

    ramp = pyvips.Image.xyz(_WIDTH, _HEIGHT)
    noise = pyvips.Image.perlin(_WIDTH, _HEIGHT, cell_size=256, seed=1) * 60 + 128
    grain = pyvips.Image.gaussnoise(_WIDTH, _HEIGHT, sigma=6, mean=0, seed=2)
    bands = [noise + grain, ramp[0] * (255 / _WIDTH) + grain, ramp[1] * (255 / _HEIGHT) + grain]
    image = bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb")
    image.jpegsave(str(path), Q=90)


def _heic(heic: Path, jpeg: Path) -> None:
    """Write a HEIC as phones do, a grid of tiles, and the same picture as JPEG."""
    from tests.workers.handlers.photo.heif_grid import SIDE, TILE, grid
    from workers.handlers.photo.heic import decode

    heic.write_bytes(grid(TILE, _WIDTH // SIDE + 1, _HEIGHT // SIDE + 1, SIDE))
    decode(heic, deep=False, memory_bytes=1 << 30).jpegsave(str(jpeg), Q=90)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
