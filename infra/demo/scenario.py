"""Runs the demo: starts the services, makes and uploads photos, waits for the results, and collects them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from infra import stack
from infra.demo.inventory import Inventory, take_inventory
from infra.demo.market import MarketBill, demo_market, market_overrides, take_bill
from infra.demo.photos import MakePhotos, SamplePhoto, photo_makers
from infra.demo.progress import DemoProgress, View, changes_between
from infra.demo.results import ResultsError, listing, read
from infra.demo.upload import CompletedUploads, PipelineSignals, UploadError, Uploads, uploading
from infra.demo.watch import DemoSnapshot, Watcher
from infra.interrupts import Interrupts
from infra.market.running import RunningMarket
from infra.market.running import running as market_running
from infra.models.packages import PackageUnavailableError
from infra.models.recommended_cache import recommended_models
from infra.models.recommended_checks import RecommendedChecks, can_be_added
from webhook.config import Config, Pipeline

IDLE_SECONDS = 3
"""An idle worker is slain after so long: the demo should end soon."""
_SETTLE_SECONDS = 150.0
_SLAIN_SECONDS = 60.0
_MOST_WORKERS = 20

DISORDER = ("--batch=8", "--duplicates=0.25", "--reorder=0.5", "--hold=0.15", "--hold-seconds=2")
"""What the bucket does to its events. It drops none: the next sweep finds the object of a lost event, but sweeps run
hours apart and the demo ends within a minute."""


class UnsuitableConfigError(Exception):
    """The demo cannot run on this configuration. The message says why."""


@dataclass(frozen=True, slots=True)
class DemoSetup:
    """The configuration, the folder and the seed of one run of the demo."""

    config: Config
    config_path: Path
    name: str
    """Of the pipeline."""
    folder: Path
    """For logs, the database and the workers' files. Must not hold those of another run."""
    environment: Mapping[str, str]
    """Variables that take the place of fields of the configuration."""
    seed: int
    on_market: bool = False
    """Whether the workers run on machines of a pretend market."""
    checks: RecommendedChecks | None = None
    """What was added to the configuration; None: nothing was."""

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that handles the photos."""
        return self.config.pipelines[self.name]

    def with_checks(self, checks: RecommendedChecks) -> DemoSetup:
        """The same, with checks in the configuration."""
        return replace(self, config=checks.added_to(self.config), checks=checks)

    def overrides(self, market: RunningMarket | None = None) -> dict[str, str]:
        """The control plane's environment: any free port, few workers, and slain soon; from where they are rented."""
        pool = f"YURT_POOLS__{self.pipeline.pool.upper()}__"
        return {
            **self.environment,
            **(self.checks.environment() if self.checks else {}),
            "YURT_SERVER__LISTEN": "127.0.0.1:0",
            "YURT_SERVER__PUBLIC_URL": "",
            # Removed with the rest: a second copy of the models would stay in the user's caches.
            "YURT_CACHE_DIR": str(self.folder / "weights"),
            f"{pool}IDLE_SECONDS": str(IDLE_SECONDS),
            f"{pool}MINIMUM": "0",
            f"{pool}LIMIT": str(_worker_limit()),
            **(market_overrides(market, self.pipeline.pool, self.config.pools[self.pipeline.pool]) if market else {}),
        }


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """Everything that is to be verified and reported."""

    inventory: Inventory
    uploads: CompletedUploads
    bill: MarketBill | None = None
    """What machines of the market cost; None: there was none."""


def run_demo(setup: DemoSetup, view: View, interrupts: Interrupts) -> DemoOutcome:
    """Run the demo to its end, and leave no process behind.

    Raises Interrupted, StackError, UploadError, ResultsError, WatchError, UnsuitableConfigError.
    """
    with _making_photos(setup.seed, interrupts) as made:
        setup = _with_checks(setup, view, interrupts)
        view.note("starting the bucket, the database and the control plane; making photos meanwhile")
        with _market(setup, view) as market, _services(setup, market, view, interrupts) as running:
            photos = _by_key(setup, [photo for future in made for photo in future.result()])
            outcome = _upload_and_collect(setup, running, photos, view, interrupts)
            return replace(outcome, bill=take_bill(running, market)) if market else outcome


def _with_checks(setup: DemoSetup, view: View, interrupts: Interrupts) -> DemoSetup:
    """Have the recommended models look at the photos, unless they cannot be had or the configuration has its own."""
    if not can_be_added(setup.config, setup.name):
        return setup
    try:
        folders = recommended_models(view.note, interrupts.check)
    except PackageUnavailableError as error:
        view.note(f"the photos are not checked by models: {error}")
        return setup
    return setup.with_checks(RecommendedChecks(setup.name, folders))


@contextmanager
def _making_photos(seed: int, interrupts: Interrupts) -> Iterator[list[Future[list[SamplePhoto]]]]:
    """Make the photos on two threads while the services start."""
    pool = ThreadPoolExecutor(2, thread_name_prefix="photos")
    try:
        yield [pool.submit(_make, make, interrupts) for make in photo_makers(seed)]
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _market(setup: DemoSetup, view: View) -> Iterator[RunningMarket | None]:
    """The market, which is there before the control plane and until after it."""
    if not setup.on_market:
        yield None
        return
    weights_bytes = setup.checks.size_bytes if setup.checks else 0
    with market_running(demo_market(weights_bytes), setup.config.server.name, setup.folder / "market") as market:
        view.note(f"a pretend market rents out machines at {market.api_url}: they are processes here")
        yield market


@contextmanager
def _services(
    setup: DemoSetup, market: RunningMarket | None, view: View, interrupts: Interrupts
) -> Iterator[stack.Stack]:
    with stack.running(
        setup.config,
        setup.config_path,
        setup.folder,
        bucket_options=[*DISORDER, f"--seed={setup.seed}"],
        environment=setup.overrides(market),
        models=setup.checks.folders if setup.checks else None,
        interrupts=interrupts,
    ) as running:
        view.note(f"the bucket listens at {running.endpoint}, the control plane at {running.url}; no worker runs")
        try:
            yield running
        finally:
            view.note("stopping the workers, the control plane, the database and the bucket")


def _upload_and_collect(
    setup: DemoSetup, running: stack.Stack, photos: Mapping[str, SamplePhoto], view: View, interrupts: Interrupts
) -> DemoOutcome:
    s3 = running.s3()
    signals = PipelineSignals()
    pipeline = setup.pipeline
    view.note(f"uploading {len(photos)} photos to {pipeline.input}")
    with (
        Watcher(running, setup.name, pipeline.pool, interrupts) as watcher,
        uploading(s3, pipeline.input.bucket, photos, signals) as uploads,
    ):
        waiting = _Waiting(watcher, uploads, photos, signals, view)
        try:
            waiting.until(waiting.settled, _SETTLE_SECONDS, "everything is done or parked")
            snapshot = waiting.until(waiting.slain, _SLAIN_SECONDS, "no worker is left")
            view.note("verifying every result")
            inputs = listing(s3, pipeline.input.bucket)
            outputs = read(s3, pipeline.output.bucket, listing(s3, pipeline.output.bucket), interrupts)
        except (UploadError, ResultsError):
            running.check()  # names the log of a bucket that has ended, which says more than a refused connection
            raise
        inventory = take_inventory(setup.name, pipeline, photos, inputs, outputs, snapshot)
        return DemoOutcome(replace(inventory, models=running.models), uploads.completed)


class _Waiting:
    """Takes snapshots and shows them until a condition is met."""

    def __init__(
        self,
        watcher: Watcher,
        uploads: Uploads,
        photos: Mapping[str, SamplePhoto],
        signals: PipelineSignals,
        view: View,
    ) -> None:
        self._watcher = watcher
        self._uploads = uploads
        self._objects = len(photos)
        self._puts = sum(1 + len(photo.earlier) for photo in photos.values())
        self._signals = signals
        self._view = view
        self._before: DemoSnapshot | None = None

    def until(self, reached: Callable[[DemoSnapshot], bool], seconds: float, what: str) -> DemoSnapshot:
        """The first snapshot that meets the condition, or the last one before the deadline, with a note."""
        deadline = time.monotonic() + seconds
        while True:
            # Read before the snapshot, which then holds every upload that counts as finished.
            finished = self._uploads.finished
            snapshot = self._watcher.snapshot()
            self._show(snapshot)
            if finished and reached(snapshot):
                return snapshot
            if time.monotonic() > deadline:
                self._view.note(f"given up after {seconds:g} s of waiting until {what}")
                return snapshot

    def settled(self, snapshot: DemoSnapshot) -> bool:
        """Whether every event has arrived and every object is done, parked or gone."""
        at_rest = snapshot.objects("done", "parked", "gone") == snapshot.objects() >= self._objects
        return snapshot.hub.pending == 0 and at_rest

    def slain(self, snapshot: DemoSnapshot) -> bool:
        """Whether no worker is left."""
        return snapshot.workers() == 0 and snapshot.minted == snapshot.slain

    def _show(self, snapshot: DemoSnapshot) -> None:
        for sentence in changes_between(self._before, snapshot):
            self._view.note(sentence)
        if snapshot.objects("leased"):
            self._signals.leased.set()
        if snapshot.objects("done"):
            self._signals.published.set()
        self._view.show(DemoProgress(self._uploads.completed.puts, self._puts, self._objects, snapshot))
        self._before = snapshot


def _make(make: MakePhotos, interrupts: Interrupts) -> list[SamplePhoto]:
    interrupts.check()
    return list(make())


def _worker_limit() -> int:
    """How many workers make sense here: each handles several photos at once."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, min(_MOST_WORKERS, cores))


def photo_pipeline(config: Config) -> str:
    """Name of the pipeline that the demo runs on. Raises UnsuitableConfigError."""
    for name, pipeline in config.pipelines.items():
        if pipeline.handler == "photo" and config.mints_here(pipeline.pool):
            if pipeline.models:
                raise UnsuitableConfigError(
                    f"pipelines.{name}.models: the demo's bucket has no {pipeline.models[0]}. Leave models and checks "
                    "out, and the demo adds the recommended ones; `yurt try` runs a pipeline with models of your own"
                )
            return name
    raise UnsuitableConfigError('the demo needs a pipeline with handler = "photo" on a pool with provider = "local"')


def _by_key(setup: DemoSetup, photos: list[SamplePhoto]) -> dict[str, SamplePhoto]:
    pipeline = setup.pipeline
    keyed = {f"{pipeline.input.prefix}{photo.name}": photo for photo in photos}
    if unwatched := [key for key in keyed if not pipeline.watches(pipeline.input.bucket, key)]:
        raise UnsuitableConfigError(f"pipelines.{setup.name}.suffixes leaves out {unwatched[0]}: the demo uploads it")
    return keyed
