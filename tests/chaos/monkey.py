"""Kills, stops, cuts and breaks, as planned. Nothing that it does is undone by more than a person would do: a service
that was killed is started again, a process that was stopped goes on.
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

from tests.chaos.bucket import FaultyBucket
from tests.chaos.cluster import INPUT, LAG_SECONDS, LEASE_SECONDS, OUTPUT, Cluster, agents
from tests.chaos.plan import LAGGING, Blow, Deed
from tests.chaos.processes import LivingProcess, descendants
from tests.chaos.proxy import Cut, Proxy, Way

_TARGET_SECONDS = 30.0
"""To wait for somebody to hit: workers come and go."""
_PAUSE_SECONDS = 0.1
_STORE_PAUSE_SECONDS = 0.5
_LONGER_SECONDS = (0.5, 2.5)
"""Beyond a lease, for who is stopped."""
_DOWN_SECONDS = (0.1, 1.0)
"""For which PostgreSQL is away."""
_STALE_SECONDS = LAG_SECONDS / 2
"""For which a replica of the store is behind: well within what the pipeline was told."""
_LATE_LEASES = (2.0, 4.0)
"""Leases that such an output waits for: another worker has published by then, if it is fast."""
_APART_SECONDS = 1.5
"""Between two contents whose Last-Modified has to differ."""
_BAIT_SECONDS = 0.5
_CHANCES = 8
_MAKE_UP_SECONDS = 90.0
_BAIT = "uploads/bait.bin"
_REQUESTS = (("GET", INPUT), ("GET", INPUT), ("PUT", OUTPUT), ("PUT", OUTPUT), ("HEAD", OUTPUT), ("HEAD", INPUT))
"""What the store refuses: never what the application itself writes, or the watcher reads."""


class Monkey:
    """Carries out blows. ``done`` counts those that hit."""

    def __init__(self, cluster: Cluster, bucket: FaultyBucket, overwrite: Callable[[str], Awaitable[None]]) -> None:
        self.done: Counter[Deed] = Counter()
        self.missed: list[str] = []
        """Blows that found nothing to hit, in words."""
        self.log: list[tuple[float, str]] = []
        """Unix time and what was done to whom."""
        self._cluster = cluster
        self._bucket = bucket
        self._overwrite = overwrite
        self._lagging: Iterator[str] = iter(())
        self._postgres = asyncio.Lock()
        self._stopped: set[LivingProcess] = set()

    async def rage(self, blows: Sequence[Blow], lagging: Sequence[str]) -> None:
        """Carry out all, each at its time."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._lagging = iter(lagging)
        async with asyncio.TaskGroup() as group:
            for blow in blows:
                await asyncio.sleep(max(0.0, started + blow.at - loop.time()))
                group.create_task(self._strike(blow))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MAKE_UP_SECONDS):
                await self._make_up(blows)

    async def _make_up(self, blows: Sequence[Blow]) -> None:
        """Kinds that hit nobody at all get another chance, while something is written for them to hit."""
        for blow in {blow.deed: blow for blow in blows}.values():
            for chance in range(1, _CHANCES + 1):
                if self.done[blow.deed]:
                    break
                async with asyncio.TaskGroup() as group:
                    strike = group.create_task(self._strike(replace(blow, seed=blow.seed + chance)))
                    while not strike.done():
                        await self._overwrite(_BAIT)
                        await asyncio.wait([strike], timeout=_BAIT_SECONDS)

    async def _strike(self, blow: Blow) -> None:
        try:
            async with asyncio.timeout(_TARGET_SECONDS):
                await self._deed(blow.deed, Random(blow.seed))
                self.done[blow.deed] += 1
        except TimeoutError:
            self.missed.append(blow.deed)

    async def _deed(self, deed: Deed, random: Random) -> None:
        match deed:
            case "kill-replica":
                await self._replica(random, signal.SIGKILL)
            case "stop-replica":
                await self._stop(await self._replica_process(random), deed, random)
            case "kill-agent" | "kill-handler" | "stop-agent":
                await self._worker(deed, random)
            case "kill-postgres":
                await self._kill_postgres(random)
            case "cut-control" | "cut-store" | "cut-database":
                await self._cut(deed, random)
            case "store-stale":
                await self._stale()
            case "store-late":
                await self._late(random)
            case _:
                await self._store(deed, random)

    # ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _replica(self, random: Random, number: signal.Signals) -> None:
        replica = random.choice(self._cluster.replicas)
        while not (replica.said and replica.send(number)):
            await asyncio.sleep(_PAUSE_SECONDS)
        self._note(f"{number.name} {replica.name}")

    async def _replica_process(self, random: Random) -> LivingProcess:
        replica = random.choice(self._cluster.replicas)
        return await self._some(random, lambda process: process.pid == replica.pid and bool(replica.said))

    async def _worker(self, deed: Deed, random: Random) -> None:
        if deed == "kill-handler":
            victim = await self._some(random, lambda process: process.is_handler)
        else:
            victim = await self._some(random, lambda process: process.is_agent)
        if deed == "stop-agent":
            await self._stop(victim, deed, random)
        else:
            self._note(f"{deed} {victim.pid}")
            victim.send(signal.SIGKILL)

    async def _some(self, random: Random, wanted: Callable[[LivingProcess], bool]) -> LivingProcess:
        while not (found := [process for process in descendants() if wanted(process)]):
            await asyncio.sleep(_PAUSE_SECONDS)
        return random.choice(sorted(found, key=lambda process: process.pid))

    async def _stop(self, victim: LivingProcess, deed: Deed, random: Random) -> None:
        """Stop it for longer than a lease, and let it go on as if nothing had happened."""
        seconds = LEASE_SECONDS + random.uniform(*_LONGER_SECONDS)
        self._note(f"{deed} {victim.pid} for {seconds:.1f} s")
        self._stopped.add(victim)
        try:
            victim.send(signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            victim.send(signal.SIGCONT)
            self._stopped.discard(victim)
            self._note(f"{deed} {victim.pid} goes on")

    async def _kill_postgres(self, random: Random) -> None:
        async with self._postgres:
            self._note("kill-postgres")
            # Shielded: a database that is down is always started again.
            await asyncio.shield(self._restart_postgres(random.uniform(*_DOWN_SECONDS)))
            self._note("kill-postgres: started again")

    async def _restart_postgres(self, seconds: float) -> None:
        await self._cluster.postgres.kill()
        await asyncio.sleep(seconds)
        await self._cluster.postgres.start()

    # ── connections and the store ────────────────────────────────────────────────────────────────────────────────────

    async def _cut(self, deed: Deed, random: Random) -> None:
        proxies: Mapping[str, Proxy] = {f"cut-{proxy.name}": proxy for proxy in self._cluster.proxies}
        way: Way = random.choice(("request", "answer"))
        cut = Cut(way, random.choice((0.0, 0.5, random.random())))
        proxies[deed].arm(cut)
        await cut.happened.wait()
        self._note(f"{deed} in the middle of a {way}, {cut.share:.0%} let through")

    async def _store(self, deed: Deed, random: Random) -> None:
        fault = await self._bucket.break_down(_fault(deed, random))
        while not await self._bucket.happened(fault):
            await asyncio.sleep(_STORE_PAUSE_SECONDS)
        self._note(f"{deed} {_said(fault)}")

    async def _late(self, random: Random) -> None:
        """Kill all agents while an output of one of them hangs in the store: it is written long after its lease."""
        seconds = round(LEASE_SECONDS * random.uniform(*_LATE_LEASES), 2)
        fault = await self._bucket.break_down({"method": "PUT", "bucket": OUTPUT, "delay_seconds": seconds})
        while not await self._bucket.happened(fault):
            await asyncio.sleep(_STORE_PAUSE_SECONDS)
        victims = [agent for agent in agents() if agent.send(signal.SIGKILL)]
        self._note(f"store-late: an output is written after {seconds:g} s, {len(victims)} agents are killed meanwhile")

    async def _stale(self) -> None:
        """Overwrite a key while reads of it see what was before."""
        key = await self._lagging_key()
        loop = asyncio.get_running_loop()
        fault = {"method": "GET", "bucket": INPUT, "key_prefix": key, "times": 3, "effect": "stale"}
        listed = await self._bucket.break_down(fault)
        started = loop.time()
        try:
            await self._overwrite(key)
            while not (happened := await self._bucket.happened(listed)) and loop.time() - started < _STALE_SECONDS:
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            await self._bucket.mend(listed)
        if loop.time() - started > LAG_SECONDS:
            # This process was not let run: a replica was behind for longer than the pipeline was told. Nothing can be
            # demanded of that content; of the next one everything.
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


def _fault(deed: Deed, random: Random) -> dict[str, object]:
    """A fault of the store, as it is asked for."""
    method, bucket = random.choice(_REQUESTS)
    fault: dict[str, object] = {"method": method, "bucket": bucket}
    match deed:
        case "store-hangs":
            return fault | {"delay_seconds": round(LEASE_SECONDS * random.uniform(0.4, 2.0), 2)}
        case "store-forgets":
            status = random.choice((500, 503))
            return {"method": "PUT", "bucket": OUTPUT, "effect": "done", "status": status}
        case _:
            return fault | {"status": random.choice((503, 503, 500, 408, 429)), "times": random.randint(1, 4)}


def _said(fault: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fault.items() if value not in (None, "", "none"))
