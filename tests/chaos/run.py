"""One run from its start to its verdict."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.chaos import checks
from tests.chaos.bucket import FaultyBucket
from tests.chaos.checks import Violation
from tests.chaos.cluster import SLOWEST_SECONDS, Cluster
from tests.chaos.monkey import Monkey
from tests.chaos.plan import blows, lagging, steps
from tests.chaos.processes import adopt_orphans, collect, descendants
from tests.chaos.report import Figures
from tests.chaos.service import ChaosError, until
from tests.chaos.watcher import ResultWatcher
from tests.chaos.writers import Writers

_FIRST_BLOW_SECONDS = 2.0
_SETTLE_SECONDS = 240.0
_END_SECONDS = 30.0
_LOOK_SECONDS = 0.5
_COLLECT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    """What a run is told."""

    uploads: int
    seconds: float
    faults: int
    seed: int
    sweeps: bool = True


@dataclass(slots=True)
class ChaosOutcome:
    """What came of it."""

    figures: Figures
    faults: list[Violation]
    writers: Writers
    deeds: list[tuple[float, str]] = field(default_factory=list)


Progress = Callable[[str], None]


class ChaosRun:
    """Carries out one run in a folder of its own."""

    def __init__(self, options: ChaosOptions, folder: Path, progress: Progress) -> None:
        self._options = options
        self._folder = folder
        self._progress = progress
        self._started = time.monotonic()
        self._figures = Figures(seed=options.seed)
        self._faults: list[Violation] = []

    async def perform(self) -> ChaosOutcome:
        """Start everything, let it happen, wait until it has settled, judge, stop everything.

        Raises:
            ChaosError: the run could not be carried out.
        """
        adopt_orphans()
        options = self._options
        planned = blows(options.seed, options.faults, max(options.seconds - _FIRST_BLOW_SECONDS, 1.0))
        spare = lagging(planned)
        async with contextlib.AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(Cluster(self._folder, options.seed, sweeps=options.sweeps))
            bucket = FaultyBucket(cluster.endpoint, cluster.keys)
            stack.push_async_callback(bucket.aclose)
            writers = Writers(bucket, options.seed)
            monkey = Monkey(cluster, bucket, writers.author)
            watcher = ResultWatcher(bucket, writers.histories, options.seed)
            background = [
                watcher.watch(),
                watcher.count_machines(),
                cluster.keep(),
                self._collect(cluster),
                self._tell(cluster, bucket, writers, monkey, watcher),
            ]
            async with _beside(background):
                for key in spare:
                    await writers.author(key)
                writing = steps(options.seed, options.uploads - 2 * len(spare), options.seconds, SLOWEST_SECONDS)
                async with asyncio.TaskGroup() as group:
                    group.create_task(writers.write(writing))
                    await asyncio.sleep(_FIRST_BLOW_SECONDS)
                    group.create_task(monkey.rage(planned, spare))
                await writers.finished()
                await self._settle(cluster, bucket)
                self._faults += await self._judge(cluster, bucket, writers, watcher)
                await self._count(cluster, bucket, writers, monkey, watcher)
            secrets = {cluster.keys.secret_key, cluster.keys.webhook, cluster.keys.admin, *watcher.tokens}
        await self._nothing_left()
        self._faults += checks.of_services(cluster)
        self._faults += checks.of_logs(self._folder, secrets)
        self._figures.seconds = time.monotonic() - self._started
        self._figures.found.update(
            wrong for wrong, _ in {(fault.wrong, fault.key or fault.text) for fault in self._faults}
        )
        return ChaosOutcome(self._figures, self._faults, writers, monkey.log)

    async def _settle(self, cluster: Cluster, bucket: FaultyBucket) -> None:
        """Nothing goes wrong any more: until everything has come to rest, or there is no more time."""
        for proxy in cluster.proxies:
            proxy.disarm()
        await bucket.mend()
        try:
            await until(lambda: _up(cluster), "both replicas", _SETTLE_SECONDS)
            await until(lambda: _announced(bucket), "all events", _SETTLE_SECONDS)
            await until(lambda: _quiet(cluster), "a quiet ledger", _SETTLE_SECONDS)
            if self._options.sweeps:
                await cluster.sweep(_SETTLE_SECONDS)
                await until(lambda: _quiet(cluster), "a quiet ledger", _SETTLE_SECONDS)
        except (ChaosError, httpx.HTTPError) as error:  # what that means for objects is told of below, one by one
            self._faults.append(Violation("unsettled", f"{type(error).__name__}: {error}"))

    async def _judge(
        self, cluster: Cluster, bucket: FaultyBucket, writers: Writers, watcher: ResultWatcher
    ) -> list[Violation]:
        for key in writers.histories:
            await watcher.look(key)
        return [
            *checks.of_watching(watcher),
            *await checks.of_results(bucket, writers.histories),
            *await checks.of_ledger(cluster, writers.histories),
            *await checks.of_balance(cluster),
        ]

    async def _nothing_left(self) -> None:
        async def gone() -> bool:
            collect(())
            return not descendants()

        try:
            await until(gone, "no process left", _END_SECONDS)
        except ChaosError:
            for process in descendants():
                self._faults.append(Violation("process", f"left over: {process}"))
                process.send(signal.SIGKILL)

    async def _collect(self, cluster: Cluster) -> None:
        while True:
            collect(cluster.pids())
            await asyncio.sleep(_COLLECT_SECONDS)

    # ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _count(
        self, cluster: Cluster, bucket: FaultyBucket, writers: Writers, monkey: Monkey, watcher: ResultWatcher
    ) -> None:
        figures, done = self._figures, writers.done
        figures.objects = len(writers.histories)
        figures.uploads = writers.uploads
        figures.overwrites = sum(done[kind] for kind in ("overwrite", "same", "back"))
        figures.deletes = done["delete"]
        figures.hub = await bucket.hub()
        figures.deeds.update(monkey.done)
        figures.missed = len(monkey.missed)
        figures.machines = watcher.most_machines
        figures.looks = watcher.looks
        figures.results = await _results(cluster)

    async def _tell(
        self, cluster: Cluster, bucket: FaultyBucket, writers: Writers, monkey: Monkey, watcher: ResultWatcher
    ) -> None:
        while True:
            hub = await bucket.hub()
            seconds = time.monotonic() - self._started
            self._progress(
                f"{seconds:4.0f} s  uploads {writers.uploads}/{self._options.uploads}  deletes {writers.done['delete']}"
                f"  struck {sum(monkey.done.values())}  events waiting {hub['pending']}  replicas {len(cluster.urls())}"
                f"  looks {watcher.looks}  stale {len(watcher.faults)}  {await _standing(cluster)}"
            )
            await asyncio.sleep(_LOOK_SECONDS)


@contextlib.asynccontextmanager
async def _beside(endless: list[Any]) -> Any:
    """Run endless loops beside what is done inside. One that fails ends it all."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop) for loop in endless]
        yield
        for task in tasks:
            task.cancel()


async def _up(cluster: Cluster) -> bool:
    if len(cluster.urls()) < len(cluster.replicas):
        return False
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
        try:
            return all([(await http.get(f"{url}/readyz")).is_success for url in cluster.urls()])
        except httpx.HTTPError:
            return False


async def _announced(bucket: FaultyBucket) -> bool:
    return not (await bucket.hub())["pending"]


async def _quiet(cluster: Cluster) -> bool:
    [row] = await cluster.query("select count(*) from objects where state in ('pending', 'leased')")
    return not row[0]


async def _results(cluster: Cluster) -> int:
    [row] = await cluster.query("select coalesce(sum(value), 0)::bigint from tally where name = 'done'")
    return int(row[0])


async def _standing(cluster: Cluster) -> str:
    try:
        rows = await cluster.query("select state::text, count(*) from objects group by 1 order by 1")
    except Exception as error:  # the database is away just now, in any of the ways in which it can be
        return f"database {type(error).__name__}"
    return " ".join(f"{row[0]} {row[1]}" for row in rows)
