"""One chaos run: starts all processes, writes and injects faults, waits until all is settled, and checks it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.chaos import checks
from tests.chaos.bucket import FaultyBucket
from tests.chaos.checks import Violation
from tests.chaos.cluster import SLOWEST_SECONDS, Cluster
from tests.chaos.monkey import Monkey
from tests.chaos.plan import faults, lagging, steps
from tests.chaos.processes import adopt_orphans, collect, descendants
from tests.chaos.report import Figures
from tests.chaos.service import ChaosError
from tests.chaos.watcher import ResultWatcher
from tests.chaos.writers import Writers
from tests.polling import until
from tests.webhook.callbacks.receiving_app import SECRET

_FIRST_FAULT_SECONDS = 2.0
_SETTLE_SECONDS = 240.0
_END_SECONDS = 30.0
_LOOK_SECONDS = 0.5
_COLLECT_SECONDS = 0.5
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    """Options of a run."""

    uploads: int
    seconds: float
    faults: int
    seed: int
    sweeps: bool = True


@dataclass(slots=True)
class ChaosOutcome:
    """Result of a run."""

    figures: Figures
    violations: list[Violation]
    writers: Writers
    log: list[tuple[float, str]] = field(default_factory=list)


Progress = Callable[[str], None]


class ChaosRun:
    """Carries out one run in a folder of its own. Logs, data and configuration lie there."""

    def __init__(self, options: ChaosOptions, folder: Path, progress: Progress) -> None:
        self._options = options
        self._folder = folder
        self._progress = progress
        self._started = time.monotonic()
        self._figures = Figures(seed=options.seed)
        self._violations: list[Violation] = []

    async def perform(self) -> ChaosOutcome:
        """Start all processes, write and inject faults, wait until the ledger has settled, check, stop all processes.

        Raises:
            ChaosError: the run could not be carried out.
        """
        adopt_orphans()
        options = self._options
        planned = faults(options.seed, options.faults, max(options.seconds - _FIRST_FAULT_SECONDS, 1.0))
        lagging_keys = lagging(planned)
        async with contextlib.AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(Cluster(self._folder, options.seed, sweeps=options.sweeps))
            bucket = FaultyBucket(cluster.endpoint, cluster.keys)
            stack.push_async_callback(bucket.aclose)
            writers = Writers(bucket, options.seed)
            monkey = Monkey(cluster, bucket, writers.overwrite)
            watcher = ResultWatcher(bucket, writers.histories, options.seed)
            background = [
                watcher.watch(),
                watcher.count_machines(),
                cluster.keep(),
                self._collect(cluster),
                self._show_progress(cluster, bucket, writers, monkey, watcher),
            ]
            async with _in_background(background):
                for key in lagging_keys:
                    await writers.overwrite(key)
                writing = steps(options.seed, options.uploads - 2 * len(lagging_keys), options.seconds, SLOWEST_SECONDS)
                async with asyncio.TaskGroup() as group:
                    group.create_task(writers.write(writing))
                    await asyncio.sleep(_FIRST_FAULT_SECONDS)
                    group.create_task(monkey.inject(planned, lagging_keys))
                await writers.finished()
                await self._settle(cluster, bucket)
                self._violations += await self._judge(cluster, bucket, writers, watcher)
                await self._count(cluster, bucket, writers, monkey, watcher)
            secrets = {cluster.keys.secret_key, cluster.keys.webhook, cluster.keys.admin, SECRET, *watcher.tokens}
        await self._no_process_left()
        self._violations += checks.of_services(cluster)
        self._violations += checks.of_logs(self._folder, secrets)
        self._figures.seconds = time.monotonic() - self._started
        self._figures.violations.update(
            kind for kind, _ in {(violation.kind, violation.key or violation.text) for violation in self._violations}
        )
        return ChaosOutcome(self._figures, self._violations, writers, monkey.log)

    async def _settle(self, cluster: Cluster, bucket: FaultyBucket) -> None:
        """Inject no more faults, and wait until no work is left or the time is up."""
        for proxy in cluster.proxies:
            proxy.disarm()
        await bucket.clear_faults()
        try:
            await _settled(lambda: _up(cluster), "not both replicas answer")
            await _settled(lambda: _announced(bucket), "the hub still has events")
            await _settled(lambda: _quiet(cluster), "the ledger still has work")
            if self._options.sweeps:
                await cluster.sweep(_SETTLE_SECONDS)
                await _settled(lambda: _quiet(cluster), "the ledger still has work after the sweep")
            await _settled(lambda: _app_has_all(cluster), "the app is still to be told of settles")
        except (ChaosError, httpx.HTTPError) as error:  # its consequences for each object are checked below
            self._violations.append(Violation("unsettled", f"{type(error).__name__}: {error}"))

    async def _judge(
        self, cluster: Cluster, bucket: FaultyBucket, writers: Writers, watcher: ResultWatcher
    ) -> list[Violation]:
        for key in writers.histories:
            await watcher.look(key)
        return [
            *checks.of_watching(watcher),
            *await checks.of_results(bucket, writers.histories),
            *await checks.of_ledger(cluster, writers.histories),
            *await checks.of_callbacks(cluster),
            *await checks.of_balance(cluster),
        ]

    async def _no_process_left(self) -> None:
        async def gone() -> bool:
            collect(())
            return not descendants()

        try:
            await until(
                gone, seconds=_END_SECONDS, failure="processes are left", pause_seconds=_PAUSE_SECONDS, error=ChaosError
            )
        except ChaosError:
            for process in descendants():
                self._violations.append(Violation("process", f"left over: {process}"))
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
        figures.injections.update(monkey.done)
        figures.missed = len(monkey.missed)
        figures.machines = watcher.most_machines
        figures.looks = watcher.looks
        figures.results = await _results(cluster)
        told = Counter((told["data"]["key"], told["data"]["sequence"]) for told in cluster.app.received())
        figures.told, figures.told_again = len(told), sum(times > 1 for times in told.values())
        [row] = await cluster.query("select count(*) from settles where state <> 'done' or changed")
        figures.settles = row[0]

    async def _show_progress(
        self, cluster: Cluster, bucket: FaultyBucket, writers: Writers, monkey: Monkey, watcher: ResultWatcher
    ) -> None:
        while True:
            hub = await bucket.hub()
            seconds = time.monotonic() - self._started
            self._progress(
                f"{seconds:4.0f} s  uploads {writers.uploads}/{self._options.uploads}  deletes {writers.done['delete']}"
                f"  faults {sum(monkey.done.values())}  events waiting {hub['pending']}  replicas {len(cluster.urls())}"
                f"  looks {watcher.looks}  stale {len(watcher.faults)}  {await _standing(cluster)}"
            )
            await asyncio.sleep(_LOOK_SECONDS)


@contextlib.asynccontextmanager
async def _in_background(loops: list[Any]) -> Any:
    """Run endless loops beside the ``with`` block. A loop that raises ends the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop) for loop in loops]
        yield
        for task in tasks:
            task.cancel()


async def _settled(condition: Callable[[], Awaitable[bool]], failure: str) -> None:
    await until(condition, seconds=_SETTLE_SECONDS, failure=failure, pause_seconds=_PAUSE_SECONDS, error=ChaosError)


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


async def _app_has_all(cluster: Cluster) -> bool:
    [row] = await cluster.query(
        "select (select count(*) from callbacks where state = 'waiting')"
        " + (select count(*) from settles where position is null or position > (select position from callback_feeds))"
    )
    return not row[0]


async def _results(cluster: Cluster) -> int:
    [row] = await cluster.query("select coalesce(sum(value), 0)::bigint from tally where name = 'done'")
    return int(row[0])


async def _standing(cluster: Cluster) -> str:
    try:
        rows = await cluster.query("select state::text, count(*) from objects group by 1 order by 1")
    except Exception as error:  # the database may be down in any way: this line only shows progress
        return f"database {type(error).__name__}"
    return " ".join(f"{row[0]} {row[1]}" for row in rows)
