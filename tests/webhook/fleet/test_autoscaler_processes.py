"""The autoscaler with real local workers: processes that are minted, killed, silenced and slain."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from tests.webhook.fleet.cloud_fleet import (
    OFFER,
    URL,
    pool,
)
from tests.webhook.fleet.fleet_memory import MachineRow, MemoryFleet
from tests.webhook.fleet.providers.contract import mint
from tests.webhook.fleet.providers.local_place import LocalPlace, is_there, local_place, runs
from webhook.fleet.activity import PoolActivity
from webhook.fleet.autoscaler import Autoscaler
from webhook.fleet.providers import (
    MintOrder,
)
from webhook.ledger.machines import Intent, MachineState
from webhook.pool_settings import Pool

# ── real processes ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class LocalFleet:
    """An autoscaler over local workers. A second of the ledger's clock passes with each turn."""

    place: LocalPlace
    pools: dict[str, Pool]
    fleet: MemoryFleet = field(default_factory=MemoryFleet)
    calling: bool = True
    """Whether workers that run call home."""

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new control plane over the same ledger."""
        self.provider = self.place.provider()
        self.autoscaler = Autoscaler(
            self.fleet, self.pools, {"local": self.provider}, url=URL, clock=lambda: self.fleet.now
        )

    @property
    def status(self) -> PoolActivity:
        return self.autoscaler.pools["a"]

    async def turn(self) -> None:
        await self.autoscaler.tick()
        await self._started()
        await self.fleet.advance(1)
        for row in self.fleet.rows.values():
            start = self.place.start_of(row.label)
            if not (self.calling and start and runs(start["pid"])):
                continue
            if row.state in (MachineState.INTENDED, MachineState.BOOTING):
                assert self.fleet.hello(row.label, start["environment"]["YURT_TOKEN"])
            await self.fleet.call(row.id)

    async def _started(self) -> None:
        """Processes start in real time: the ledger's clock stands still for them."""
        async with asyncio.timeout(60):
            for row in self.fleet.alive(MachineState.BOOTING):
                while self.calling and self.place.start_of(row.label) is None and runs(pid(row)):
                    await asyncio.sleep(0.01)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                await self.turn()
                await asyncio.sleep(0.01)

    async def ready(self, count: int = 1) -> list[MachineRow]:
        await self.until(lambda: len(self.fleet.alive(MachineState.READY)) == count)
        return self.fleet.alive(MachineState.READY)

    def has(self, **wanted: int) -> Callable[[], bool]:
        """Whether so many rows are in these states."""
        return lambda: all(self.fleet.states()[MachineState(state)] == count for state, count in wanted.items())


@asynccontextmanager
async def local_fleet(folder: Path, deeds: str = "", **fields: Any) -> AsyncIterator[LocalFleet]:
    async with local_place(folder, deeds) as place:
        yield LocalFleet(place, {"a": pool(**fields)})


def pid(row: MachineRow) -> int:
    assert row.ref
    return int(row.ref)


async def test_machines_are_minted_for_work_and_slain_when_idle(tmp_path: Path) -> None:
    async with local_fleet(tmp_path, idle_seconds=5) as it:
        await it.turn()
        assert not it.fleet.rows
        await it.fleet.upload("a", 2)
        with capture_logs() as logs:
            rows = await it.ready(2)
            for row in rows:
                assert await it.fleet.take(row.id, 1) == 1
                await it.fleet.settle(row.id)
            await it.until(it.has(gone=2))
        assert not any(is_there(pid(row)) for row in rows)
        assert (it.status.minted, it.status.ready, it.status.failed) == (2, 2, 0)
        assert it.status.slain == {"drained": 2}
    logged = {
        event: [log for log in logs if log["event"] == event] for event in ("minted", "ready", "draining", "slain")
    }
    for event, entries in logged.items():
        assert {log["label"] for log in entries} == {row.label for row in rows}, event
        assert all(log["pool"] == "a" for log in entries)
    assert {log["reason"] for log in logged["draining"]} == {"idle"}
    assert not any(row.token in str(logs) for row in rows)


async def test_a_busy_machine_is_never_slain_for_want_of_work(tmp_path: Path) -> None:
    async with local_fleet(tmp_path, idle_seconds=5) as it:
        await it.fleet.upload("a", 1)
        (row,) = await it.ready()
        await it.fleet.take(row.id, 1)
        for _ in range(30):
            await it.turn()
        assert row.state is MachineState.READY
        assert is_there(pid(row))


async def test_a_killed_worker_is_noticed_its_work_freed_and_another_minted(tmp_path: Path) -> None:
    async with local_fleet(tmp_path) as it:
        await it.fleet.upload("a", 1)
        (row,) = await it.ready()
        await it.fleet.take(row.id, 1)
        os.kill(pid(row), signal.SIGKILL)
        await it.until(it.has(gone=1, ready=1))
        assert (row.reason, it.fleet.pending["a"]) == ("vanished", 1)
        assert not is_there(pid(row))
        assert it.status.slain == {"vanished": 1}


async def test_a_worker_that_falls_silent_is_slain(tmp_path: Path) -> None:
    async with local_fleet(tmp_path) as it:
        await it.fleet.upload("a", 1)
        (row,) = await it.ready()
        it.calling = False
        await it.until(it.has(gone=1))
        assert row.reason == "silent"
        assert not is_there(pid(row))


async def test_a_draining_machine_has_until_its_deadline(tmp_path: Path) -> None:
    async with local_fleet(tmp_path, drain_seconds=20) as it:
        await it.fleet.upload("a", 1)
        (row,) = await it.ready()
        await it.fleet.take(row.id, 1)
        await it.fleet.drain(row.id, "idle")
        for _ in range(15):
            await it.turn()
        assert row.state is MachineState.DRAINING
        await it.until(it.has(gone=1))
        assert row.reason == "drain-deadline"


async def test_a_worker_that_never_calls_home_is_slain_and_another_minted(tmp_path: Path) -> None:
    async with local_fleet(tmp_path, boot_seconds=10, mint_seconds=5) as it:
        it.calling = False
        await it.fleet.upload("a", 1)
        await it.until(it.has(gone=1, booting=1))
        first = it.fleet.rows[1]
        assert first.reason == "boot-deadline"
        assert not is_there(pid(first))
        it.calling = True
        await it.until(it.has(gone=1, ready=1))
        assert it.status.failed == 1


async def test_workers_that_end_at_once_open_the_breaker(tmp_path: Path) -> None:
    async with local_fleet(tmp_path, "broken", breaker_seconds=30) as it:
        await it.fleet.upload("a", 1)
        with capture_logs() as logs:
            await it.until(lambda: it.status.breaker == "open")
        assert any(log["event"] == "breaker open" and log["log_level"] == "error" for log in logs)
        opened = it.fleet.now
        await it.until(lambda: it.fleet.now > opened + 25)
        assert len(it.fleet.rows) == 3
        await it.until(lambda: len(it.fleet.rows) == 4)
        assert it.fleet.now >= opened + 29
        it.place.deeds = ""
        it.start()
        await it.ready()
        assert it.status.breaker == "closed"


async def test_a_crash_between_intent_and_mint_costs_no_more_than_the_row(tmp_path: Path) -> None:
    async with local_fleet(tmp_path, limit=1) as it:
        assert await it.fleet.intend("a", "local", 1)
        await it.fleet.upload("a", 1)
        await it.turn()
        assert len(it.fleet.rows) == 1
        await it.until(it.has(gone=1, ready=1))
        assert it.fleet.rows[1].reason == "never-minted"
        assert it.fleet.most == 1
        assert not it.status.slain


async def test_a_crash_between_mint_and_its_record_adopts_the_machine(tmp_path: Path) -> None:
    async with local_fleet(tmp_path, limit=1) as it:
        intent = await it.fleet.intend("a", "local", 1)
        assert isinstance(intent, Intent)
        ref = await it.provider.mint(MintOrder(intent.label, "a", OFFER, URL, intent.token))
        await it.fleet.upload("a", 1)
        (row,) = await it.ready()
        assert (row.id, row.ref) == (intent.id, ref)
        assert len(it.fleet.rows) == 1


async def test_a_new_control_plane_clears_up_what_ended_with_the_old(tmp_path: Path) -> None:
    async with local_fleet(tmp_path) as it:
        await it.fleet.upload("a", 2)
        rows = await it.ready(2)
        await it.provider.aclose()
        it.start()
        await it.until(it.has(gone=2, ready=2))
        assert {row.reason for row in rows} == {"vanished"}


async def test_what_the_provider_lists_and_nobody_knows_is_slain(tmp_path: Path) -> None:
    async with local_fleet(tmp_path) as it:
        unknown = await mint(it.provider)
        await it.turn()
        assert not await it.provider.list()
        assert not is_there(int(unknown.ref))
        assert it.autoscaler.providers["local"].unknown_slain == 1


async def test_machines_of_a_pool_that_is_no_longer_configured_are_drained_and_slain(tmp_path: Path) -> None:
    async with local_fleet(tmp_path) as it:
        await it.fleet.upload("a", 1)
        (row,) = await it.ready()
        await it.fleet.take(row.id, 1)
        it.pools = {"b": pool()}
        it.start()
        await it.until(it.has(draining=1))
        for _ in range(5):
            await it.turn()
        assert row.state is MachineState.DRAINING
        await it.fleet.settle(row.id)
        await it.until(it.has(gone=1))
        assert it.status.slain == {"drained": 1}
