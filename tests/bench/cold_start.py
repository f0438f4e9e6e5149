"""Measures what Yurt adds to a provider's own boot: a real control plane and worker, on machines that boot for 2 s.

And a fresh worker's way to its first photo that models have looked at, where each machine has to fetch them.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from infra.models.packages import PackageUnavailableError
from infra.models.recommended import write_models
from infra.models.recommended_checks import RecommendedChecks
from infra.stack import Stack, running
from tests.bench.latency import manifest_of, photo, postgres_socket
from tests.bench.photos import write_photo
from tests.bench.report import BenchFigure
from tests.polling import wait_until
from webhook.config_file import load
from workers.handlers.registry import options_model

_STARTS = 3
_BOOT_SECONDS = 2
_CONFIG = """
[server]
listen = "127.0.0.1:0"
autoscale_seconds = 0.2
[pipelines.photos]
input = "s3://photos-in/uploads/"
output = "s3://photos-out/results/"
pool = "slow"
[providers.slow]
kind = "exec"
command = {command}
rented = false
lag_seconds = 0
[pools.slow]
provider = "slow"
limit = 1
idle_seconds = 1
"""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """One machine from its intent to its first result, in seconds since 1970."""

    intended: float
    ordered: float
    """The provider was called."""
    booted: float
    """The worker's process was started."""
    ready: float
    """It called home."""
    result: float
    """The manifest was written."""
    handle_seconds: float

    @property
    def own_seconds(self) -> float:
        """From the intent to the result, without the provider's boot, the worker's own start and the handler."""
        return (self.ordered - self.intended) + (self.result - self.ready) - self.handle_seconds

    @property
    def added_seconds(self) -> float:
        """The same with the worker's start and the handler: all but the provider's boot."""
        return (self.result - self.intended) - (self.booted - self.ordered)


async def measure(folder: Path) -> list[BenchFigure]:
    """Measure some first results, each of a machine that has to be minted for it."""
    return await asyncio.to_thread(lambda: [*_without_models(folder / "plain"), *_with_models(folder / "checked")])


def _without_models(folder: Path) -> Iterator[BenchFigure]:
    starts = sorted(_starts(folder, photo()), key=lambda start: start.own_seconds)
    middle = starts[len(starts) // 2]
    what = f"mint→first result, over the provider's own boot of {_BOOT_SECONDS} s"
    yield BenchFigure(f"{what}: the control plane's part", middle.own_seconds, "s", at_most=1.0)
    yield BenchFigure(f"{what}: with the worker's start and the handler", middle.added_seconds, "s")


def _with_models(folder: Path) -> Iterator[BenchFigure]:
    try:
        models = write_models(folder / "models")
    except PackageUnavailableError as error:
        print(f"Without the recommended models: {error}")
        return
    write_photo(folder / "photo.jpg")
    starts = _starts(folder, (folder / "photo.jpg").read_bytes(), models)
    seconds = statistics.median(start.result - start.booted for start in starts)
    what = "fresh worker process, nothing cached → first photo of 12 megapixels checked by both models"
    yield BenchFigure(what, seconds, "s", at_most=1.5)


def _starts(folder: Path, encoded: bytes, models: Mapping[str, Path] | None = None) -> Iterator[ColdStart]:
    place, path = folder / "place", folder / "yurt.toml"
    place.mkdir(parents=True)
    command = [sys.executable, str(Path(__file__).with_name("slow_place.py")), str(place), str(_BOOT_SECONDS)]
    path.write_text(_CONFIG.format(command=command))
    checks = RecommendedChecks("photos", models or {})
    config, environment = load(path, options_model), {}
    if models:
        config, environment = checks.added_to(config), checks.environment()
    with running(config, path, folder / "state", environment=environment, models=models) as stack:
        for number in range(_STARTS):
            yield _start(stack, folder, encoded, number)
            wait_until(lambda: not [*_living(place)], seconds=60, failure="a machine goes on", error=TimeoutError)


def _start(stack: Stack, folder: Path, encoded: bytes, number: int) -> ColdStart:
    key = f"uploads/{number}.jpg"
    s3 = stack.s3()
    s3.put_object(Bucket="photos-in", Key=key, Body=encoded)
    manifest = manifest_of(s3, f"results/{key}/result.json")
    label, intended, ready = asyncio.run(_newest(folder))
    ordered, booted = map(float, (folder / "place" / f"{label}.times").read_text().split())
    result = manifest.finished_at.timestamp()
    return ColdStart(intended, ordered, booted, ready, result, manifest.seconds.handle)


async def _newest(folder: Path) -> tuple[str, float, float]:
    """Label of the newest machine that called home, and when it was intended and ready."""
    connection = await asyncpg.connect(**postgres_socket(folder))
    row = await connection.fetchrow(
        "select label, extract(epoch from created_at)::float8 as intended,"
        " extract(epoch from ready_at)::float8 as ready"
        " from workers where ready_at is not null order by id desc limit 1"
    )
    await connection.close()
    assert row
    return row["label"], row["intended"], row["ready"]


def _living(place: Path) -> Iterator[Path]:
    return (path for path in place.glob("*.pid") if Path(f"/proc/{path.read_text()}").exists())
