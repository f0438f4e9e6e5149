"""Many leases at once: what overlaps, what is bounded, and what ends the work."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from starlette.responses import Response
from structlog.testing import capture_logs

from tests.polling import until
from tests.workers.agents import WAIT, agent, exit_of, handler_pid, in_the_handler, running, working
from tests.workers.control_plane import (
    ONE_TIME_TOKEN,
    StubControlPlane,
    served,
    shell,
)
from tests.workers.processes import alive
from workers import disk_space
from workers.beginning import run_agent
from workers.dispatcher import DispatcherSettings
from workers.lifecycle import Exit
from workers.protocol import Done, Failed, Released
from workers.sandbox.pool import Sandbox
from workers.settings import Settings


async def test_the_next_is_fetched_while_one_is_handled(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        gate = tmp_path / "gate"
        first = plane.offer("first", shell(WAIT, str(gate)))
        await in_the_handler(gate)
        second = plane.offer("second")
        await plane.until(lambda: plane.seen("get", "in/second"))
        assert not plane.settled
        gate.touch()
        assert isinstance(await plane.settlement(first), Done)
        assert isinstance(await plane.settlement(second), Done)


async def test_the_next_is_handled_while_one_is_published(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        slow = plane.held["PUT /store/out/first/copy.txt"] = asyncio.Event()
        first, second = plane.offer("first"), plane.offer("second")
        assert isinstance(await plane.settlement(second), Done)
        assert first.token not in plane.settled
        slow.set()
        assert isinstance(await plane.settlement(first), Done)


async def test_slow_publishing_keeps_no_slot_idle_but_is_bounded(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        keys = [f"k{number}" for number in range(5)]
        gates = [plane.held.setdefault(f"PUT /store/out/{key}/copy.txt", asyncio.Event()) for key in keys]
        leases = [plane.offer(key) for key in keys]
        await plane.until(lambda: len(plane.of_kind("put")) == 4)
        assert len(plane.of_kind("lease")) == 4
        for gate in gates:
            gate.set()
        for lease in leases:
            assert isinstance(await plane.settlement(lease), Done)


async def test_no_more_is_leased_than_can_be_held(tmp_path: Path) -> None:
    async with running(tmp_path, StubControlPlane(slots=2)) as plane:
        gates = [tmp_path / f"gate{number}" for number in range(6)]
        leases = [plane.offer(f"k{n}", shell(WAIT, str(gate))) for n, gate in enumerate(gates)]
        await in_the_handler(gates[0])
        await in_the_handler(gates[1])
        await plane.until(lambda: len(plane.of_kind("get")) == 4)
        assert len(plane.of_kind("lease")) == 4  # two in the handler, two fetched ahead
        assert not any(handler_pid(gate) for gate in gates[2:])
        for gate in gates:
            gate.touch()
        for lease in leases:
            assert isinstance(await plane.settlement(lease), Done)


async def test_a_settlement_does_not_wait_for_the_long_poll(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        gate = tmp_path / "gate"
        lease = plane.offer("a", shell(WAIT, str(gate)))
        await in_the_handler(gate)
        await plane.until(lambda: plane.of_kind("ask")[-1] == ("ask", 1, 0))  # waits for another, 30 s long
        gate.touch()
        await plane.settlement(lease)
        assert plane.of_kind("ask")[-1] == ("ask", 0, 1)


async def test_under_load_settlements_carry_the_next_request(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        leases = [plane.offer(f"k{number}", shell('sleep 0.1; cp "$0" copy.txt')) for number in range(6)]
        for lease in leases:
            await plane.settlement(lease)
        assert plane.seen("ask", 1, 1)


async def test_a_settlement_that_is_not_understood_does_not_hold_up_others(tmp_path: Path) -> None:
    async with running(tmp_path, StubControlPlane(slots=3)) as plane:
        gates = {name: tmp_path / name for name in ("first", "bad", "good")}
        leases = {name: plane.offer(name, shell(WAIT, str(gate))) for name, gate in gates.items()}
        for gate in gates.values():
            await in_the_handler(gate)
        plane.misunderstood.add(leases["bad"].token)
        busy = plane.held["POST /v1/leases"] = asyncio.Event()
        with capture_logs() as logs:
            gates["first"].touch()
            await plane.until(lambda: plane.seen("ask", 0, 1))
            gates["bad"].touch()
            gates["good"].touch()
            await until(lambda: sum(line["event"] == "ended" for line in logs) == 3)
        busy.set()  # the first one's settlement was held up, so the others share a request
        assert isinstance(await plane.settlement(leases["good"]), Done)
        assert leases["bad"].token not in plane.settled


async def test_a_file_that_fills_the_disk_by_itself_is_charged(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=20m tmpfs "$YURT_WORK_DIR" && exec "$@"'
    wrapper = ("unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", mount, "sh")
    probe = await asyncio.create_subprocess_exec(
        *wrapper, "true", env=os.environ | {"YURT_WORK_DIR": str(tmp_path)}, stderr=asyncio.subprocess.DEVNULL
    )
    if await probe.wait() != 0:
        pytest.skip("no file system can be mounted here")
    plane = StubControlPlane()
    async with served(plane), agent(plane, tmp_path, wrapper=wrapper) as process:
        lease = plane.offer("a", shell('head -c 30000000 /dev/zero > big.bin; : "$0"'))
        settlement = await plane.settlement(lease)
        assert isinstance(settlement, Failed)
        assert (settlement.reason, settlement.retry) == ("disk-full", True)
        assert isinstance(await plane.settlement(plane.offer("b")), Done)  # the machine is as it was
        process.terminate()
        code, log = await exit_of(process)
        assert (code, "worker-fault" in log) == (Exit.LEFT, False)


async def test_work_goes_on_after_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, settings=DispatcherSettings(pause_seconds=0.05)) as plane:
        with monkeypatch.context() as full:
            full.setattr(disk_space, "RESERVE_BYTES", 1 << 60)
            assert isinstance(await plane.settlement(plane.offer("a")), Released)
        assert isinstance(await plane.settlement(plane.offer("a")), Done)
        assert len(plane.of_kind("get")) == 1  # nothing was fetched that would not have fitted


async def test_no_lease_is_requested_in_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, StubControlPlane(slots=2), DispatcherSettings(pause_seconds=3600)) as plane:
        gate = tmp_path / "gate"
        handled = plane.offer("handled", shell(WAIT, str(gate)))
        await in_the_handler(gate)
        monkeypatch.setattr(disk_space, "RESERVE_BYTES", 1 << 60)
        assert isinstance(await plane.settlement(plane.offer("a")), Released)
        since = len(plane.events)
        plane.offer("b")
        gate.touch()  # what is in the handler is finished all the same
        assert isinstance(await plane.settlement(handled), Done)
        assert [event for event in plane.events[since:] if event[0] == "ask"] == [("ask", 0, 1)]
        assert not plane.seen("lease", "b")


async def test_an_agent_leaves_a_machine_that_stays_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = StubControlPlane()
    async with served(plane):
        monkeypatch.setattr(disk_space, "RESERVE_BYTES", 1 << 60)
        settings = Settings(plane.url, ONE_TIME_TOKEN, tmp_path)
        task = asyncio.create_task(run_agent(settings, DispatcherSettings(pause_seconds=0.01, max_faults=3)))
        leases = [plane.offer(f"k{number}") for number in range(9)]
        async with asyncio.timeout(30):
            assert await task == Exit.UNFIT
        released = [lease for lease in leases if lease.token in plane.settled]
        assert 3 <= len(released) < 9
        assert all(isinstance(plane.settled[lease.token], Released) for lease in released)


async def test_a_lease_lost_in_the_handler_ends_its_work(tmp_path: Path) -> None:
    plane = StubControlPlane(orphan_seconds=4.5)  # so heartbeats come long before the lease's own deadline
    async with working(tmp_path, plane) as (_, process):
        gate = tmp_path / "gate"
        lease = plane.offer("a", shell(WAIT, str(gate)))
        pid = await in_the_handler(gate)
        plane.lost.add(lease.token)
        await until(lambda: not alive(pid))
        assert isinstance(await plane.settlement(plane.offer("b")), Done)
        assert lease.token not in plane.settled
        assert not any(event[1] == "a" for event in plane.of_kind("outputs", "put"))
        process.terminate()
        assert (await exit_of(process))[0] == Exit.LEFT


async def test_an_agent_that_slept_past_its_lease_fences_itself(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.lease_seconds = 2.0
    async with working(tmp_path, plane) as (_, process):
        gate = tmp_path / "gate"
        lease = plane.offer("a", shell(WAIT, str(gate)))
        pid = await in_the_handler(gate)
        started_at = asyncio.get_running_loop().time()
        os.kill(process.pid, signal.SIGSTOP)
        gate.touch()  # the result is ready, and the agent asleep
        await until(lambda: not alive(pid))
        await until(lambda: asyncio.get_running_loop().time() > started_at + 2.5)
        os.kill(process.pid, signal.SIGCONT)
        assert isinstance(await plane.settlement(plane.offer("b")), Done)
        assert lease.token not in plane.settled
        assert not any(event[1] == "a" for event in plane.of_kind("outputs"))


async def test_a_lease_granted_anew_stops_the_work_under_the_old_token(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        gate = tmp_path / "gate"
        old = plane.offer("a", shell(WAIT, str(gate)), id=5)
        pid = await in_the_handler(gate)
        new = plane.offer("a", id=5)
        assert isinstance(await plane.settlement(new), Done)
        assert not alive(pid)
        assert old.token not in plane.settled


async def test_heartbeats_keep_a_lease(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.lease_seconds = 3.0
    async with running(tmp_path, plane):
        gate = tmp_path / "gate"
        lease = plane.offer("a", shell(WAIT, str(gate)))
        path = f"POST /v1/leases/{lease.id}/heartbeat"
        plane.faults[path] = [Response(status_code=503)]  # one that fails is no harm
        await plane.until(lambda: len(plane.of_kind("heartbeat")) >= 5)
        gate.touch()
        assert isinstance(await plane.settlement(lease), Done)


async def test_an_agent_with_work_is_no_orphan(tmp_path: Path) -> None:
    plane = StubControlPlane(orphan_seconds=3.0)
    async with working(tmp_path, plane) as (_, process):
        gate = tmp_path / "gate"
        lease = plane.offer("a", shell(WAIT, str(gate)))
        await plane.until(lambda: len(plane.of_kind("heartbeat")) >= 4)
        gate.touch()
        assert isinstance(await plane.settlement(lease), Done)
        assert process.returncode is None


async def test_a_lease_on_trial_is_worked_alone_and_that_is_reported_before_it_begins(tmp_path: Path) -> None:
    async with running(tmp_path, StubControlPlane(slots=2)) as plane:
        gates = {key: tmp_path / key for key in ("a", "b", "c")}
        first = plane.offer("a", shell(WAIT, str(gates["a"])))
        await in_the_handler(gates["a"])
        trial = plane.offer("b", shell(WAIT, str(gates["b"])), trial=True)
        await plane.until(lambda: plane.seen("lease", "b"))
        later = plane.offer("c", shell(WAIT, str(gates["c"])))
        gates["a"].touch()
        await in_the_handler(gates["b"])
        assert isinstance(plane.settled[first.token], Done)
        assert plane.events.index(("settled", "a", "done")) < plane.events.index(("get", "in/b"))
        assert (plane.handling[-1].tokens, plane.handling[-1].alone) == ([trial.token], True)
        # Another worker may take what waits meanwhile.
        assert not plane.seen("lease", "c")
        gates["b"].touch()
        assert isinstance(await plane.settlement(trial), Done)
        # What begins after it must not be taken for something beside it.
        assert not plane.handling[-1].alone
        await in_the_handler(gates["c"])
        gates["c"].touch()
        assert isinstance(await plane.settlement(later), Done)
        assert [report for report in plane.handling if report.alone and report.tokens != [trial.token]] == []


async def test_a_trial_that_cannot_be_reported_does_not_begin(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.lease_seconds = 2.0
    async with running(tmp_path, plane):
        plane.faults["POST /v1/leases/1/heartbeat"] = [Response(status_code=503)] * 1_000
        gate = tmp_path / "gate"
        plane.offer("a", shell(WAIT, str(gate)), trial=True)
        await plane.until(lambda: plane.of_kind("heartbeat"))
        after = plane.offer("b")  # once the lease of the first has run out
        assert isinstance(await plane.settlement(after), Done)
        assert not handler_pid(gate)


async def test_polls_that_a_proxy_cuts_short_become_shorter_and_that_is_said_once(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.gives_up_after = 0.3
    with capture_logs() as logs:
        async with running(tmp_path, plane, DispatcherSettings(shortest_poll_seconds=0.1, poll_seconds=0.05)):
            await plane.until(lambda: len(plane.of_kind("ask")) > 5)
            lease = plane.offer("a")
            assert isinstance(await plane.settlement(lease), Done)
    [line] = [line for line in logs if line["event"] == "long polls are cut short"]
    assert 0.1 <= line["poll_seconds"] <= 0.2
    assert "504" in line["error"]


async def test_how_long_models_were_loaded_is_told_until_there_is_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sandbox, "load_seconds", 1.5)
    async with running(tmp_path) as plane:
        for key in "ab":
            assert isinstance(await plane.settlement(plane.offer(key, shell("exit 1"))), Failed)
        assert set(plane.load_seconds) == {1.5}, "a failure is no result"
        for key in "cd":
            assert isinstance(await plane.settlement(plane.offer(key)), Done)
        told = plane.load_seconds.index(None)
        assert set(plane.load_seconds[:told]) == {1.5}
        assert set(plane.load_seconds[told:]) == {None}
