"""The whole demo: services, photos, uploads, waiting, verification."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra import stack
from infra.demo.inventory import Inventory, bring_together
from infra.demo.photos import Plan, SamplePhoto, plans
from infra.demo.progress import Stand, View, news
from infra.demo.results import ResultsError, listing, read
from infra.demo.upload import Answered, Moments, UploadError, Uploads, uploading
from infra.demo.watch import DemoSnapshot, Watcher
from infra.interrupts import Stop
from webhook.config import Config, Pipeline

IDLE_SECONDS = 3
"""A worker that had nothing to do for so long is slain."""
_SETTLE_SECONDS = 150.0
_SLAIN_SECONDS = 60.0
_MOST_WORKERS = 20

DISORDER = ("--batch=8", "--duplicates=0.25", "--reorder=0.5", "--hold=0.15", "--hold-seconds=2")
"""What the bucket does to its events. It drops none: an event that never comes is found by comparing listings with
the ledger, and that is not a part of Yurt yet."""


class UnfitError(Exception):
    """The configuration is not one that the demo can run on. The message says why."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the demo runs on."""

    config: Config
    config_path: Path
    name: str
    """The pipeline's."""
    folder: Path
    """For logs, the database and the workers' files. Must not hold those of another run."""
    environment: Mapping[str, str]
    """Variables that take the place of fields of the configuration."""
    seed: int

    @property
    def pipeline(self) -> Pipeline:
        """The one that the photos go through."""
        return self.config.pipelines[self.name]

    def overrides(self) -> dict[str, str]:
        """The control plane's environment: any free port, few workers, and slain soon."""
        pool = f"YURT_POOLS__{self.pipeline.pool.upper()}__"
        return {
            **self.environment,
            "YURT_SERVER__LISTEN": "127.0.0.1:0",
            "YURT_SERVER__PUBLIC_URL": "",
            f"{pool}IDLE_SECONDS": str(IDLE_SECONDS),
            f"{pool}MINIMUM": "0",
            f"{pool}LIMIT": str(_workers()),
        }


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What came of it."""

    found: Inventory
    answered: Answered


def play(setting: Setting, view: View, stop: Stop) -> DemoOutcome:
    """Run it all, and leave no process behind.

    Raises Interrupted, StackError, UploadError, ResultsError, WatchError, UnfitError.
    """
    with _painting(setting.seed, stop) as painted:
        view.note("starting the bucket, the database and the control plane; making photos meanwhile")
        with _services(setting, view, stop) as running:
            photos = _by_key(setting, [photo for future in painted for photo in future.result()])
            return _travel(setting, running, photos, view, stop)


@contextmanager
def _painting(seed: int, stop: Stop) -> Iterator[list[Future[list[SamplePhoto]]]]:
    """The photos, being made on two threads while the services start."""
    painters = ThreadPoolExecutor(2, thread_name_prefix="photos")
    try:
        yield [painters.submit(_paint, plan, stop) for plan in plans(seed)]
    finally:
        painters.shutdown(cancel_futures=True)


@contextmanager
def _services(setting: Setting, view: View, stop: Stop) -> Iterator[stack.Stack]:
    with stack.running(
        setting.config,
        setting.config_path,
        setting.folder,
        bucket_options=[*DISORDER, f"--seed={setting.seed}"],
        environment=setting.overrides(),
        stop=stop,
    ) as running:
        view.note(f"the bucket listens at {running.endpoint}, the control plane at {running.url}; no worker runs")
        try:
            yield running
        finally:
            view.note("stopping the workers, the control plane, the database and the bucket")


def _travel(
    setting: Setting, running: stack.Stack, photos: Mapping[str, SamplePhoto], view: View, stop: Stop
) -> DemoOutcome:
    s3 = running.s3()
    moments = Moments()
    pipeline = setting.pipeline
    view.note(f"uploading {len(photos)} photos to {pipeline.input}")
    with (
        Watcher(running, setting.name, pipeline.pool, stop) as watcher,
        uploading(s3, pipeline.input.bucket, photos, moments) as uploads,
    ):
        watch = _Watch(watcher, uploads, photos, moments, view)
        try:
            watch.until(watch.settled, _SETTLE_SECONDS, "everything is done or parked")
            last = watch.until(watch.slain, _SLAIN_SECONDS, "no worker is left")
            view.note("verifying every result")
            inputs = listing(s3, pipeline.input.bucket)
            outputs = read(s3, pipeline.output.bucket, listing(s3, pipeline.output.bucket), stop)
        except (UploadError, ResultsError):
            running.check()  # a bucket that is gone has more to say than who missed it
            raise
        return DemoOutcome(bring_together(setting.name, pipeline, photos, inputs, outputs, last), uploads.answered)


class _Watch:
    """Looks until something is so."""

    def __init__(
        self, watcher: Watcher, uploads: Uploads, photos: Mapping[str, SamplePhoto], moments: Moments, view: View
    ) -> None:
        self._watcher = watcher
        self._uploads = uploads
        self._objects = len(photos)
        self._puts = sum(1 + len(photo.earlier) for photo in photos.values())
        self._moments = moments
        self._view = view
        self._before: DemoSnapshot | None = None

    def until(self, reached: Callable[[DemoSnapshot], bool], seconds: float, what: str) -> DemoSnapshot:
        """The first look at which it is so, or, with a note, the last one in so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            # Asked for first: what was uploaded by then can be in what is seen.
            finished = self._uploads.finished
            seen = self._watcher.look()
            self._tell(seen)
            if finished and reached(seen):
                return seen
            if time.monotonic() > deadline:
                self._view.note(f"given up after {seconds:g} s of waiting until {what}")
                return seen

    def settled(self, seen: DemoSnapshot) -> bool:
        """Whether every event has arrived and every object has come to its end."""
        at_rest = seen.objects("done", "parked", "gone") == seen.objects() >= self._objects
        return seen.hub.pending == 0 and at_rest

    def slain(self, seen: DemoSnapshot) -> bool:
        """Whether no worker is left."""
        return seen.workers() == 0 and seen.minted == seen.slain

    def _tell(self, seen: DemoSnapshot) -> None:
        for sentence in news(self._before, seen):
            self._view.note(sentence)
        if seen.objects("leased"):
            self._moments.leased.set()
        if seen.objects("done"):
            self._moments.published.set()
        self._view.show(Stand(self._uploads.answered.puts, self._puts, self._objects, seen))
        self._before = seen


def _paint(plan: Plan, stop: Stop) -> list[SamplePhoto]:
    stop.check()
    return list(plan())


def _workers() -> int:
    """How many workers make sense here: each handles several photos at once."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, min(_MOST_WORKERS, cores))


def photo_pipeline(config: Config) -> str:
    """Name of the pipeline to play on. Raises UnfitError."""
    for name, pipeline in config.pipelines.items():
        if pipeline.handler == "photo" and config.pools[pipeline.pool].provider == "local":
            return name
    raise UnfitError('the demo needs a pipeline with handler = "photo" on a pool with provider = "local"')


def _by_key(setting: Setting, photos: list[SamplePhoto]) -> dict[str, SamplePhoto]:
    pipeline = setting.pipeline
    keyed = {f"{pipeline.input.prefix}{photo.name}": photo for photo in photos}
    if unwatched := [key for key in keyed if not pipeline.watches(pipeline.input.bucket, key)]:
        raise UnfitError(f"pipelines.{setting.name}.suffixes leaves out {unwatched[0]}: the demo uploads it")
    return keyed
