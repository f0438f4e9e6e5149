"""Chaos monkey: injects the planned faults into processes, connections and the store.

It repairs only what an operator would: a killed service is restarted, a stopped process continued.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, TypeVar, overload

from tests.chaos.bucket import FaultyBucket
from tests.chaos.cluster import INPUT, LAG_SECONDS, LEASE_SECONDS, OUTPUT, Cluster, agents
from tests.chaos.plan import LAGGING, FaultKind, PlannedFault
from tests.chaos.processes import LivingProcess, descendants
from tests.chaos.proxy import Cut, Proxy, Way
from tests.polling import until

T = TypeVar("T")

_TARGET_SECONDS = 30.0
"""To wait for a process or request of the wanted kind: workers come and go."""
_PAUSE_SECONDS = 0.1
_STORE_PAUSE_SECONDS = 0.5
_LONGER_SECONDS = (0.5, 2.5)
"""How much longer than a lease a process is stopped."""
_DOWN_SECONDS = (0.1, 1.0)
"""How long PostgreSQL is down."""
_STALE_SECONDS = LAG_SECONDS / 2
"""How long a replica of the store is behind: well below the pipeline's ``replica_lag_seconds``."""
_LATE_LEASES = (2.0, 4.0)
"""Delay of a late output, in leases: by then another worker may have published."""
_APART_SECONDS = 1.5
"""Between two writes whose Last-Modified, in whole seconds, has to differ."""
_TARGET_WRITE_SECONDS = 0.5
_EXTRA_TRIES = 8
_MAKE_UP_SECONDS = 90.0
_TARGET_KEY = "uploads/bait.bin"
_REQUESTS = (("GET", INPUT), ("GET", INPUT), ("PUT", OUTPUT), ("PUT", OUTPUT), ("HEAD", OUTPUT), ("HEAD", INPUT))
"""Requests that the store refuses. The writers' PUTs and the watcher's GETs are not among them."""


class Monkey:
    """Injects faults. ``done`` counts those that found a target."""

    def __init__(self, cluster: Cluster, bucket: FaultyBucket, overwrite: Callable[[str], Awaitable[None]]) -> None:
        self.done: Counter[FaultKind] = Counter()
        self.missed: list[str] = []
        """Kinds of faults that found no target in time."""
        self.log: list[tuple[float, str]] = []
        """Unix time, and the fault with its target."""
        self._cluster = cluster
        self._bucket = bucket
        self._overwrite = overwrite
        self._lagging: Iterator[str] = iter(())
        self._postgres = asyncio.Lock()
        self._app = asyncio.Lock()
        self._stopped: set[LivingProcess] = set()

    async def inject(self, faults: Sequence[PlannedFault], lagging: Sequence[str]) -> None:
        """Inject all faults, each at its time."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._lagging = iter(lagging)
        async with asyncio.TaskGroup() as group:
            for planned in faults:
                await asyncio.sleep(max(0.0, started + planned.at - loop.time()))
                group.create_task(self._inject_one(planned))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MAKE_UP_SECONDS):
                await self._make_up(faults)

    async def _make_up(self, faults: Sequence[PlannedFault]) -> None:
        """Try again the kinds that never found a target, while uploads give workers something to do."""
        for planned in {planned.kind: planned for planned in faults}.values():
            for extra_try in range(1, _EXTRA_TRIES + 1):
                if self.done[planned.kind]:
                    break
                async with asyncio.TaskGroup() as group:
                    injection = group.create_task(self._inject_one(replace(planned, seed=planned.seed + extra_try)))
                    while not injection.done():
                        await self._overwrite(_TARGET_KEY)
                        await asyncio.wait([injection], timeout=_TARGET_WRITE_SECONDS)

    async def _inject_one(self, planned: PlannedFault) -> None:
        try:
            async with asyncio.timeout(_TARGET_SECONDS):
                await self._perform(planned.kind, Random(planned.seed))
                self.done[planned.kind] += 1
        except TimeoutError:
            self.missed.append(planned.kind)

    async def _perform(self, kind: FaultKind, random: Random) -> None:
        match kind:
            case "kill-replica":
                await self._replica(random, signal.SIGKILL)
            case "stop-replica":
                await self._stop(await self._replica_process(random), kind, random)
            case "kill-agent" | "kill-handler" | "stop-agent":
                await self._worker(kind, random)
            case "kill-postgres":
                await self._kill_postgres(random)
            case "cut-control" | "cut-store" | "cut-database":
                await self._cut(kind, random)
            case "kill-app":
                await self._kill_app(random)
            case "app-fails":
                await self._app_fails(random)
            case "store-stale":
                await self._stale()
            case "store-late":
                await self._late(random)
            case _:
                await self._store(kind, random)

    # ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _replica(self, random: Random, number: signal.Signals) -> None:
        replica = random.choice(self._cluster.replicas)
        await _target(lambda: bool(replica.announced) and replica.send(number))
        self._note(f"{number.name} {replica.name}")

    async def _replica_process(self, random: Random) -> LivingProcess:
        replica = random.choice(self._cluster.replicas)
        return await self._random_process(
            random, lambda process: process.pid == replica.pid and bool(replica.announced)
        )

    async def _worker(self, kind: FaultKind, random: Random) -> None:
        if kind == "kill-handler":
            victim = await self._random_process(random, lambda process: process.is_handler)
        else:
            victim = await self._random_process(random, lambda process: process.is_agent)
        if kind == "stop-agent":
            await self._stop(victim, kind, random)
        else:
            self._note(f"{kind} {victim.pid}")
            victim.send(signal.SIGKILL)

    async def _random_process(self, random: Random, wanted: Callable[[LivingProcess], bool]) -> LivingProcess:
        found = await _target(lambda: [process for process in descendants() if wanted(process)])
        return random.choice(sorted(found, key=lambda process: process.pid))

    async def _stop(self, victim: LivingProcess, kind: FaultKind, random: Random) -> None:
        """SIGSTOP a process for longer than a lease, then SIGCONT."""
        seconds = LEASE_SECONDS + random.uniform(*_LONGER_SECONDS)
        self._note(f"{kind} {victim.pid} for {seconds:.1f} s")
        self._stopped.add(victim)
        try:
            victim.send(signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            victim.send(signal.SIGCONT)
            self._stopped.discard(victim)
            self._note(f"{kind} {victim.pid} goes on")

    async def _kill_postgres(self, random: Random) -> None:
        async with self._postgres:
            self._note("kill-postgres")
            # Shielded: this task may time out, but a database that was killed has to be restarted.
            await asyncio.shield(self._restart_postgres(random.uniform(*_DOWN_SECONDS)))
            self._note("kill-postgres: started again")

    async def _restart_postgres(self, seconds: float) -> None:
        await self._cluster.postgres.kill()
        await asyncio.sleep(seconds)
        await self._cluster.postgres.start()

    async def _kill_app(self, random: Random) -> None:
        """Kill the app while it is told of results, and start it again at the same address."""
        async with self._app:
            told = len(self._cluster.app.received())
            await _target(lambda: len(self._cluster.app.received()) > told)
            self._note("kill-app")
            await asyncio.shield(self._restart_app(random.uniform(*_DOWN_SECONDS)))

    async def _restart_app(self, seconds: float) -> None:
        self._cluster.app.kill()
        await asyncio.sleep(seconds)
        await self._cluster.app.start()

    async def _app_fails(self, random: Random) -> None:
        """Let the app answer with an error until it has done so."""
        async with self._app:
            app, status, before = self._cluster.app, random.choice((500, 503, 429)), self._cluster.app.refused()
            app.answer(status)
            try:
                await _target(lambda: app.refused() > before)
            finally:
                app.answer(200)
            self._note(f"app-fails: {app.refused() - before} callbacks are answered with {status}")

    # ── connections and the store ────────────────────────────────────────────────────────────────────────────────────

    async def _cut(self, kind: FaultKind, random: Random) -> None:
        proxies: Mapping[str, Proxy] = {f"cut-{proxy.name}": proxy for proxy in self._cluster.proxies}
        way: Way = random.choice(("request", "answer"))
        cut = Cut(way, random.choice((0.0, 0.5, random.random())))
        proxies[kind].arm(cut)
        await cut.happened.wait()
        self._note(f"{kind} in the middle of a {way}, {cut.share:.0%} let through")

    async def _store(self, kind: FaultKind, random: Random) -> None:
        fault = await self._bucket.add_fault(_fault(kind, random))
        await _target(lambda: self._bucket.has_happened(fault), _STORE_PAUSE_SECONDS)
        self._note(f"{kind} {_fault_text(fault)}")

    async def _late(self, random: Random) -> None:
        """Kill all agents while the store holds back an output of one of them: it is written long after its lease."""
        seconds = round(LEASE_SECONDS * random.uniform(*_LATE_LEASES), 2)
        fault = await self._bucket.add_fault({"method": "PUT", "bucket": OUTPUT, "delay_seconds": seconds})
        await _target(lambda: self._bucket.has_happened(fault), _STORE_PAUSE_SECONDS)
        victims = [agent for agent in agents() if agent.send(signal.SIGKILL)]
        self._note(f"store-late: an output is written after {seconds:g} s, {len(victims)} agents are killed meanwhile")

    async def _stale(self) -> None:
        """Overwrite a key while reads of it return the previous content."""
        key = await self._lagging_key()
        loop = asyncio.get_running_loop()
        fault = {"method": "GET", "bucket": INPUT, "key_prefix": key, "times": 3, "effect": "stale"}
        listed = await self._bucket.add_fault(fault)
        started = loop.time()
        try:
            await self._overwrite(key)
            while not (happened := await self._bucket.has_happened(listed)) and loop.time() - started < _STALE_SECONDS:
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            await self._bucket.clear_faults(listed)
        if loop.time() - started > LAG_SECONDS:
            # This process was starved: the replica was behind for longer than the pipeline's limit, so that an old
            # result of this content is no violation. The next content is checked again.
            await self._overwrite(key)
        if not happened:
            raise TimeoutError
        self._note(f"store-stale {key}")

    async def _lagging_key(self) -> str:
        if key := next(self._lagging, None):
            return key
        key = f"{LAGGING}again-{len(self.log)}.bin"
        await self._overwrite(key)
        await asyncio.sleep(_APART_SECONDS)
        return key

    def _note(self, text: str) -> None:
        self.log.append((time.time(), text))


@overload
async def _target(condition: Callable[[], Awaitable[T]], pause_seconds: float = ...) -> T: ...


@overload
async def _target(condition: Callable[[], T], pause_seconds: float = ...) -> T: ...


async def _target(condition: Callable[[], Any], pause_seconds: float = _PAUSE_SECONDS) -> Any:
    """Wait until there is a target. Raises TimeoutError."""
    return await until(condition, seconds=_TARGET_SECONDS, pause_seconds=pause_seconds, error=TimeoutError)


def _fault(kind: FaultKind, random: Random) -> dict[str, object]:
    """A fault of the store, as its endpoint takes it."""
    method, bucket = random.choice(_REQUESTS)
    fault: dict[str, object] = {"method": method, "bucket": bucket}
    match kind:
        case "store-hangs":
            return fault | {"delay_seconds": round(LEASE_SECONDS * random.uniform(0.4, 2.0), 2)}
        case "store-forgets":
            status = random.choice((500, 503))
            return {"method": "PUT", "bucket": OUTPUT, "effect": "done", "status": status}
        case _:
            return fault | {"status": random.choice((503, 503, 500, 408, 429)), "times": random.randint(1, 4)}


def _fault_text(fault: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fault.items() if value not in (None, "", "none"))
