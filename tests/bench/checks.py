"""Measures what checks by the recommended models add to the handling of a photo, in sandboxes as a worker has them.

Processor time is that of the photo's process and of the one that runs models, together.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from infra.models.packages import PackageUnavailableError
from infra.models.recommended import write_models
from tests.bench.photos import write_photo
from tests.bench.report import BenchFigure
from tests.workers.sandbox.jobs import MIB, JobFolder, limits, sandbox
from workers import protocol
from workers.sandbox import proc
from workers.sandbox.pool import Sandbox

_ROUNDS = 40
_FRESH = 7
_KINDS: Mapping[str, dict[str, JsonValue]] = {
    "none": {},
    "safety": {"checks": ["safety"]},
    "both": {"checks": ["safety", "labels"], "embedding": "labels"},
}


async def measure(folder: Path) -> list[BenchFigure]:
    """Handle one photo with and without checks in turn, then in sandboxes that have just been started."""
    try:
        models = await asyncio.to_thread(write_models, folder / "models")
    except PackageUnavailableError as error:
        print(f"Without the recommended models: {error}")
        return []
    write_photo(folder / "photo.jpg")
    measured = _Measured(folder, models)
    cpu_seconds = await measured.in_turn()
    fresh_seconds = [await measured.fresh() for _ in range(_FRESH)]
    none = cpu_seconds["none"]
    return [
        BenchFigure("photo of 12 megapixels in a sandbox, without checks", none * 1000, "CPU-ms"),
        *(
            BenchFigure(what, (cpu_seconds[kind] - none) * 1000, "CPU-ms", ratio=cpu_seconds[kind] / none, at_most=1.25)
            for kind, what in (("safety", "added by the safety check"), ("both", "added by safety, labels, embedding"))
        ),
        BenchFigure("fresh sandbox → first photo checked by both", statistics.median(fresh_seconds), "s", at_most=1.5),
    ]


class _Measured:
    def __init__(self, folder: Path, models: Mapping[str, Path]) -> None:
        self._folder = folder / "models"
        self._jobs = JobFolder(folder / "jobs")
        self._models = models
        self._photo = (folder / "photo.jpg").read_bytes()

    async def in_turn(self) -> dict[str, float]:
        """CPU seconds of a photo by kind: the median of its process, and the mean of the one that runs models.

        A sandbox of its own for each: none has another's models.
        """
        async with AsyncExitStack() as stack:
            pools = {kind: await stack.enter_async_context(self._sandbox()) for kind in _KINDS}
            for kind, pool in pools.items():
                await self._handle(pool, kind)  # warm
            before = {kind: _cpu_seconds_of_models(pool) for kind, pool in pools.items()}
            seconds: dict[str, list[float]] = {kind: [] for kind in pools}
            for _ in range(_ROUNDS):
                for kind, pool in pools.items():
                    seconds[kind].append(await self._handle(pool, kind))
            of_models = {kind: (_cpu_seconds_of_models(pool) - before[kind]) / _ROUNDS for kind, pool in pools.items()}
        return {kind: statistics.median(each) + of_models[kind] for kind, each in seconds.items()}

    def _sandbox(self) -> AbstractAsyncContextManager[Sandbox]:
        return sandbox(preload=("photo",), models=self._folder)

    async def fresh(self) -> float:
        """Seconds from the start of a sandbox to its first result."""
        begun = time.monotonic()
        async with self._sandbox() as pool:
            pool.warm_models()  # as an agent does whose pool has models
            await self._handle(pool, "both")
            return time.monotonic() - begun

    async def _handle(self, pool: Sandbox, kind: str) -> float:
        handler = protocol.Handler(
            kind="photo",
            options=_KINDS[kind],
            limits=limits(memory_bytes=2048 * MIB, input_bytes=64 * MIB, output_bytes=64 * MIB),
        )
        job = replace(self._jobs.job(self._photo), models=self._models if kind != "none" else {})
        async with pool.child() as child:
            with await child.run(handler, job):
                assert child.last
                return child.last.cpu_seconds


def _cpu_seconds_of_models(pool: Sandbox) -> float:
    """Processor time of the process that runs models until now; none: there is no such process."""
    assert pool.inference
    use = proc.use_of(pool.inference.pid) if pool.inference.pid else None
    return use.cpu_seconds if use else 0.0
