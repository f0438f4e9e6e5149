"""Runs one history: a world drawn from a seed, from its first write until no work is left."""

from __future__ import annotations

import asyncio
import contextlib
import random
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import structlog

import webhook.api.auth
import webhook.api.leases
import workers.client
import workers.lease_task
import workers.publish
import workers.transfer
from tests.simulation import hostile, plane, sweeps, worker
from tests.simulation.bucket import Input, ResultBucket
from tests.simulation.database import Engine, Model, SimulatedDatabase
from tests.simulation.draws import Draws
from tests.simulation.hub import SimulatedHub
from tests.simulation.invariants import GOES_ON, NO_WORK_TWICE, Invariants
from tests.simulation.loop import Stuck, VirtualLoop
from tests.simulation.process import OPERATOR, SimulatedProcess
from tests.simulation.statements import Tables
from tests.simulation.store_clients import SimulatedBuckets
from tests.simulation.world import EPOCH, BrokenInvariant, World, WorldSettings, settings_of
from webhook.definitions.current import policy_of
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.distrust import Distrust
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import Ledger
from webhook.ledger.parked import ParkedObjects, ParkedQuery

WAITS = "nothing waits for a clock"
_LONGEST_WAIT_SECONDS = 600.0
_REST_SECONDS = 3_600.0
"""Time after the last fault within which all work has to end."""
_REDRIVES = 5
_BESIDE_SECONDS = 7_200.0
"""Time after the last fault within which all work has to end beside a hostile worker."""
_CACHED_SECONDS = 2.0
"""After which every replica has noticed that a worker's token was revoked."""


@dataclass(frozen=True)
class HistoryResult:
    """Result of one history."""

    seed: int
    settings: WorldSettings
    counts: Counter[str]
    violation: BrokenInvariant | None
    fired: tuple[str, ...]
    """Names of the faults that happened."""
    trace: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class HistoryChoice:
    """Which history to run, and with which changes."""

    seed: int
    faults: Collection[str] = ()
    """Left out."""
    operations: Collection[int] = ()
    """Left out."""
    tracing: bool = False
    without: frozenset[str] = frozenset()
    """Guards of the ledger's statements that a mutant removes."""
    mirrored: Callable[[Model], Engine] | None = None
    """Makes an engine that also runs every statement on PostgreSQL."""
    settle: Callable[[WorldSettings], WorldSettings] = lambda settings: settings
    """Changes the settings of the world."""


def run(choice: HistoryChoice) -> HistoryResult:
    """Run one history."""
    with _deterministic(choice.seed) as loop:
        draws = Draws(choice.seed, choice.faults)
        settings = choice.settle(settings_of(draws))
        world = World(choice.seed, draws, loop, settings, choice.operations, choice.tracing)
        try:
            loop.run_until_complete(_play(world, choice))
        except Stuck:
            world.fail(BrokenInvariant("it comes to rest", "nothing would ever happen again"))
        except BrokenInvariant as violation:
            world.fail(violation)
        world.counts["virtual seconds"] = int(world.now)
        return HistoryResult(choice.seed, settings, world.counts, world.failure, tuple(draws.fired), tuple(world.trace))


async def _play(world: World, choice: HistoryChoice) -> None:
    tables = Tables(lambda: world.ledger_micros, ready=set(range(1, hostile.HOSTILE + 1)), without=choice.without)
    store = Input(world)
    output = ResultBucket(world)
    hub = SimulatedHub(world, store)
    invariants = Invariants(world, tables, store, output, hub)
    world.tables, world.invariants = tables, invariants
    world.observers.append(invariants.check)
    model = Model(tables, invariants.statement)
    engine = choice.mirrored(model) if choice.mirrored else model
    buckets = SimulatedBuckets(world, store, output)
    for number in (1, 2):
        SimulatedProcess(world, f"plane-{number}", partial(plane.run, buckets=buckets, engine=engine))
    for number in range(1, world.settings.workers + 1):
        SimulatedProcess(world, f"worker-{number}", partial(worker.run, worker_id=number, buckets=buckets))
    if world.settings.hostile:
        SimulatedProcess(world, "hostile", partial(hostile.run, buckets=buckets))
    script = world.loop.create_task(_script(world, hub, store, engine))
    tasks = [script, world.loop.create_task(hub.run())]
    await asyncio.wait([script, world.ended()], return_when=asyncio.FIRST_COMPLETED)
    if script.done():
        script.result()
    del tasks


async def _script(world: World, hub: SimulatedHub, store: Input, engine: Engine) -> None:
    operator = SimulatedProcess(world, OPERATOR, _nothing)
    if world.settings.lossy:
        world.loop.create_task(_sweeps(world, operator, engine))
    await _apps(world, store)
    await asyncio.sleep(world.draws.between("world/after", 1.0, 60.0))
    world.draws.faults_over = True
    if world.tracing:
        world.note("— no more faults —")
    if world.settings.hostile:
        await _find_out(world, hub, operator, engine)
    await _rest(world, hub, operator, engine)
    if world.settings.lossy or world.settings.late_effects:
        await asyncio.sleep(world.settings.lag_seconds)
        number = await sweeps.order(world, operator, engine, "full")
        if await sweeps.wait_for_end(world, number) != "done":
            raise BrokenInvariant("it comes to rest", "a full sweep does not end well")
        await _rest(world, hub, operator, engine)
    world.invariants.at_rest()
    if world.draws.chance("world/rebuilt", 0.15):
        await _rebuild(world, hub, operator, engine)


async def _find_out(world: World, hub: SimulatedHub, operator: SimulatedProcess, engine: Engine) -> None:
    """Wait until all that can be done beside a hostile worker is done. Then have an operator distrust the worker."""
    until = world.now + _BESIDE_SECONDS
    while not _settled(world, hub):
        if world.now > until:
            standing = ", ".join(f"{row.key} is {row.state}" for row in world.tables.objects.values())
            raise BrokenInvariant(GOES_ON, f"{_BESIDE_SECONDS:.0f} s after the last fault: {standing}")
        await world.next_step(5.0)
    database = SimulatedDatabase(operator, engine)
    ledger = Ledger(
        database,
        {plane.PIPELINE: policy_of(plane.config_of(world.settings), "photos")},
        jitter=lambda: world.draws.unit("operator/jitter"),
        shard=0,
    )
    await Distrust(ledger).distrust(hostile.HOSTILE, "It lies.")
    await asyncio.sleep(_CACHED_SECONDS)
    fleet = LedgerFleet(ledger, owner="yurt", pipelines=lambda _: [], slots={}, limits={})
    await fleet.gone(hostile.HOSTILE)
    world.invariants.found_out()


def _settled(world: World, hub: SimulatedHub) -> bool:
    """Whether nothing waits for a worker or for the control plane."""
    states = {row.state for row in world.tables.objects.values()}
    return not (states & {"pending", "leased"}) and hub.quiet and not world.stalled


async def _rebuild(world: World, hub: SimulatedHub, operator: SimulatedProcess, engine: Engine) -> None:
    """Empty the ledger. A backfill has to adopt all results from their manifests; no object is processed again."""
    runs = world.counts["handler runs"]
    world.counts["rebuilds"] += 1
    if world.tracing:
        world.note("the ledger is lost and recreated")
    engine.empty()
    world.invariants.forget()
    number = await sweeps.order(world, operator, engine, "backfill")
    if await sweeps.wait_for_end(world, number) != "done":
        raise BrokenInvariant("it comes to rest", "a backfill does not end well")
    await _rest(world, hub, operator, engine)
    world.invariants.at_rest()
    if world.counts["handler runs"] != runs:
        raise BrokenInvariant(
            NO_WORK_TWICE, f"{world.counts['handler runs'] - runs} objects were worked again after a rebuild"
        )


async def _sweeps(world: World, operator: SimulatedProcess, engine: Engine) -> None:
    """Run some sweeps while applications write."""
    for number in range(world.draws.below("sweeps/number", 4)):
        await asyncio.sleep(world.draws.between(f"sweeps/{number}/wait", 5.0, 40.0))
        kind = world.draws.choice(f"sweeps/{number}/kind", ("full", "full", "backfill"))
        swept = await sweeps.order(world, operator, engine, kind)
        if await sweeps.wait_for_end(world, swept) == "done":
            world.counts["sweeps done"] += 1


async def _nothing(process: SimulatedProcess) -> None:
    await process.never()


async def _rest(world: World, hub: SimulatedHub, operator: SimulatedProcess, engine: Engine) -> None:
    """Wait until no work is left. Parked objects are redriven."""
    until = world.now + _REST_SECONDS
    redrives = 0
    while world.now < until:
        if until - world.now < _REST_SECONDS / 2:  # by then a stalled control plane has woken up
            _check_waits(world)
        if _settled(world, hub):
            if all(row.state != "parked" for row in world.tables.objects.values()):
                return
            redrives += 1
            if redrives > _REDRIVES:
                raise BrokenInvariant("it comes to rest", "what is parked is parked again at once")
            await _redrive(world, operator, engine)
        await world.next_step(5.0)
    standing = ", ".join(f"{row.key} is {row.state}" for row in world.tables.objects.values())
    raise BrokenInvariant("it comes to rest", f"an hour after the last fault: {standing}")


def _check_waits(world: World) -> None:
    """Nothing is due, and no lease ends, later than the longest wait that there is."""
    for row in world.tables.objects.values():
        ends_at = {"pending": row.due_at, "leased": row.deadline}.get(row.state)
        waits_seconds = 0 if ends_at is None else (ends_at - world.ledger_micros) / 1e6
        if waits_seconds > _LONGEST_WAIT_SECONDS:
            raise BrokenInvariant(WAITS, f"{row.key} is {row.state} for another {waits_seconds:.0f} s")


async def _redrive(world: World, operator: SimulatedProcess, engine: Engine) -> None:
    world.counts["redrives"] += 1
    ledger = Ledger(SimulatedDatabase(operator, engine), {}, shard=0)
    with contextlib.suppress(LedgerUnavailable):
        await ParkedObjects(ledger).redrive(ParkedQuery())


async def _apps(world: World, store: Input) -> None:
    """Applications write, overwrite, delete and rename."""
    settings, draws = world.settings, world.draws
    set_back_at = draws.below("world/clock-back-at", settings.operations) if settings.clock_back else None
    for number in range(settings.operations):
        if number == set_back_at:
            _set_clock_back(world)
        stream = f"app/{number}"
        gap = (
            (0.02, 0.6) if settings.crowded else draws.choice(f"{stream}/gap", ((0.05, 1.5), (1.0, 20.0), (10.0, 70.0)))
        )
        await asyncio.sleep(draws.between(f"{stream}/wait", *gap))
        if number not in world.left_out_operations:
            _operate(world, store, stream)


def _set_clock_back(world: World) -> None:
    """Set the database's clock back, right after a control plane has kept its reading."""
    world.tables.latest_reading = world.ledger_micros
    world.clock_back_micros += round(world.settings.clock_back * 1e6)
    world.counts["clock set back"] += 1
    if world.tracing:
        world.note(f"the database's clock is set back by {world.settings.clock_back:g} s")


def _operate(world: World, store: Input, stream: str) -> None:
    draws, settings = world.draws, world.settings
    key = draws.choice(f"{stream}/key", settings.keys)
    region = draws.below(f"{stream}/region", settings.regions)
    kind = draws.choice(f"{stream}/kind", ("put",) * 7 + ("again", "delete", "delete", "rename"))
    content = draws.choice(f"{stream}/content", settings.contents)
    present = store.content(key)
    if kind == "again" and present:
        content = present
    if kind == "delete":
        _write(world, store, key, region, None, "OBJECT_DELETED")
    elif kind == "rename" and present and len(settings.keys) > 1:
        other = draws.choice(f"{stream}/other", [name for name in settings.keys if name != key])
        _write(world, store, other, region, present, "OBJECT_RENAME")
        _write(world, store, key, region, None, "OBJECT_RENAME")
    else:
        name = draws.choice(f"{stream}/name", ("OBJECT_CREATED_PUT", "OBJECT_CREATED_MULTIPART", "OBJECT_CREATED_COPY"))
        _write(world, store, key, region, content, name)


def _write(world: World, store: Input, key: str, region: int, content: str | None, name: str) -> None:
    write = store.write(key, region, content, name)
    world.counts["writes"] += 1
    if world.tracing:
        what = f"puts {key} = {content}" if content else f"deletes {key}"
        seen = ", ".join(f"{number}: {at:.3f}" for number, at in enumerate(write.visible))
        world.note(f"app {what} in region {region} (seen in {seen})")
    world.stepped()


# ── determinism ───────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _deterministic(seed: int) -> Iterator[VirtualLoop]:
    """A virtual loop and clock, a seeded ``random``, and no logging."""
    state, logging = random.getstate(), structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    random.seed(seed)
    loop = VirtualLoop()
    patches = contextlib.ExitStack()
    for module in (workers.lease_task, workers.transfer):
        patches.enter_context(mock.patch.object(module, "require_space", return_value=None))
    patches.enter_context(mock.patch.object(workers.lease_task, "discard", return_value=None))
    for module in (webhook.api.auth, webhook.api.leases, workers.client, workers.publish, workers.lease_task):
        patches.enter_context(mock.patch.object(module, "time", SimpleNamespace(monotonic=loop.time)))
    patches.enter_context(mock.patch.object(workers.publish, "datetime", _clock(loop)))
    try:
        with patches:
            yield loop
    finally:
        _close(loop)
        random.setstate(state)
        structlog.configure(**logging)


def _clock(loop: VirtualLoop) -> Any:
    def now(zone: tzinfo) -> datetime:
        return datetime.fromtimestamp(EPOCH.timestamp() + loop.time(), zone)

    return SimpleNamespace(now=now)


def _close(loop: VirtualLoop) -> None:
    """Close the loop and its endless tasks without running any of their code but "finally" blocks."""
    # A "finally" block may begin a task, which needs a current loop and has to be closed as well: its coroutine would
    # be collected at some later time, with a warning that fails the test that runs then.
    asyncio.set_event_loop(loop)
    closed: set[asyncio.Task[Any]] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while tasks := asyncio.all_tasks(loop) - closed:
            closed |= tasks
            for task in tasks:
                # asyncio has no public way to drop a pending task without a message on stderr.
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with contextlib.suppress(BaseException):
                    task.get_coro().close()
        loop.close()
    asyncio.set_event_loop(None)
