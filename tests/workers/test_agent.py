"""The agent as a process, against a control plane and a store over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.responses import Response
from structlog.testing import capture_logs

from tests.workers.agents import running
from tests.workers.control_plane import (
    COPY,
    LIMITS,
    MODIFIED,
    ONE_TIME_TOKEN,
    WORKER_TOKEN,
    StubControlPlane,
    agent,
    alive,
    descendants,
    eventually,
    left,
    served,
    shell,
)
from workers import transfer
from workers.dispatcher import Pace
from workers.lifecycle import Exit, live
from workers.manifest import Manifest
from workers.protocol import Absent, Done, Expected, Lease, Released, Unchanged
from workers.settings import Settings

WAIT = 'echo $$ > "$1.pid"; while [ ! -e "$1" ]; do sleep 0.02; done; cp "$0" copy.txt'
"""A command that writes its process id to ``$1.pid`` and works when ``$1`` exists."""


@contextlib.asynccontextmanager
async def working(
    tmp_path: Path, plane: StubControlPlane | None = None, **environment: str
) -> AsyncIterator[tuple[StubControlPlane, asyncio.subprocess.Process]]:
    """A process of its own, where it matters that it is one."""
    plane = plane or StubControlPlane()
    async with served(plane), agent(plane, tmp_path, **environment) as process:
        await plane.until(lambda: plane.of_kind("ask"))
        yield plane, process


def handler_pid(gate: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"{gate}.pid").read_text())
    return 0


async def in_the_handler(gate: Path) -> int:
    await eventually(lambda: handler_pid(gate))
    return handler_pid(gate)


def manifest(plane: StubControlPlane, lease: Lease) -> Manifest:
    return Manifest.decode(plane.store[f"out/{lease.key}/result.json"].data)


# ── the way of one object ──────────────────────────────────────────────────────────────────────────────────


async def test_an_object_travels_the_whole_way(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        lease = plane.offer("a b+%ü.txt", shell('cp "$0" copy.txt; echo "{}" > b.json'))
        settlement = await plane.settlement(lease)
        assert isinstance(settlement, Done)
        content = plane.store[f"in/{lease.key}"]
        assert (settlement.fetched.etag, settlement.fetched.modified) == (content.etag, MODIFIED)
        assert [output.name for output in settlement.outputs] == ["b.json", "copy.txt", "result.json"]
        for output in settlement.outputs:
            stored = plane.store[f"out/{lease.key}/{output.name}"]
            assert (output.etag, output.size) == (stored.etag, len(stored.data))
            assert stored.headers["content-type"] == output.content_type
        record = manifest(plane, lease)
        assert record.input == settlement.fetched
        assert record.outputs == tuple(settlement.outputs[:-1])
        assert (record.pipeline, record.bucket, record.key) == ("photos", "in", lease.key)
        assert (record.token, record.attempt, record.handler) == (lease.token, 1, "command")
        assert settlement.seconds.keys() == {"fetch", "handle", "publish"}


async def test_one_request_asks_for_all_outputs(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        await plane.settlement(plane.offer("a", shell('cp "$0" a.txt; cp "$0" b.txt')))
        assert plane.of_kind("outputs") == [("outputs", "a", "a.txt", "b.txt", "result.json")]


async def test_the_manifest_is_written_after_the_slowest_output(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        slow = plane.held["PUT /store/out/a/slow.txt"] = asyncio.Event()
        lease = plane.offer("a", shell('cp "$0" fast.txt; cp "$0" slow.txt'))
        await plane.until(lambda: plane.seen("stored", "out/a/fast.txt"))
        await plane.until(lambda: plane.seen("put", "out/a/slow.txt"))
        slow.set()
        await plane.settlement(lease)
        put = plane.events.index(("put", "out/a/result.json"))
        assert put > plane.events.index(("stored", "out/a/slow.txt"))
        assert put > plane.events.index(("stored", "out/a/fast.txt"))


async def test_outputs_go_up_side_by_side(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        names = ("a.txt", "b.txt", "c.txt")
        gates = [plane.held.setdefault(f"PUT /store/out/a/{name}", asyncio.Event()) for name in names]
        lease = plane.offer("a", shell('for n in a b c; do cp "$0" $n.txt; done'))
        await plane.until(lambda: all(plane.seen("put", f"out/a/{name}") for name in names))
        for gate in gates:
            gate.set()
        assert isinstance(await plane.settlement(lease), Done)


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


async def test_slow_publishing_does_not_keep_places_idle_but_has_a_bound(tmp_path: Path) -> None:
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


async def test_unchanged_content_is_no_work(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        first = plane.offer("a")
        await plane.settlement(first)
        again = plane.offer("a", known_etag=plane.store["in/a"].etag)
        assert isinstance(await plane.settlement(again), Unchanged)
        assert len(plane.of_kind("outputs")) == 1


async def test_an_absent_object(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        assert isinstance(await plane.settlement(plane.offer("gone", data=None)), Absent)


async def test_an_empty_object_reaches_the_handler(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        settlement = await plane.settlement(plane.offer("empty", data=b""))
        assert isinstance(settlement, Done)
        assert settlement.fetched.size == 0


# ── what goes wrong with an object ─────────────────────────────────────────────────────────────────────────


async def test_a_handler_that_refuses_its_input(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        failure = await plane.failure(plane.offer("a", shell("echo no such format >&2; exit 65")))
        assert (failure.reason, failure.retry) == ("command-failed", False)
        assert "no such format" in failure.log
        assert isinstance(await plane.settlement(plane.offer("b")), Done)


async def test_a_handler_that_takes_too_long(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        limits = LIMITS.model_copy(update={"wall_seconds": 0.2})
        failure = await plane.failure(plane.offer("a", shell("sleep 600", limits=limits)))
        assert (failure.reason, failure.retry) == ("timeout", True)
        assert isinstance(await plane.settlement(plane.offer("b")), Done)


async def test_an_input_beyond_the_limit(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        limits = LIMITS.model_copy(update={"input_bytes": 6})
        failure = await plane.failure(plane.offer("a", shell(COPY, limits=limits)))
        assert (failure.reason, failure.retry) == ("too-large", False)


async def test_a_store_in_trouble_for_a_while(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        plane.faults["GET /store/in/a"] = [Response(status_code=408), Response(status_code=503)]
        plane.faults["PUT /store/out/a/copy.txt"] = [Response(status_code=500), Response(status_code=429)]
        plane.faults["PUT /store/out/a/result.json"] = [Response(status_code=503)]
        assert isinstance(await plane.settlement(plane.offer("a")), Done)


async def test_a_store_that_never_recovers(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        plane.faults["GET /store/in/a"] = [Response(status_code=503) for _ in range(20)]
        failure = await plane.failure(plane.offer("a"))
        assert (failure.reason, failure.retry) == ("store", True)
        assert "503" in failure.message


async def test_a_replica_behind(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        news = Expected(etag="newer", modified=MODIFIED.replace(year=2027))
        failure = await plane.failure(plane.offer("a", expected=news))
        assert (failure.reason, failure.retry) == ("replica-behind", True)
        assert len(plane.of_kind("get")) > 1


async def test_another_result_is_there_already(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        await plane.settlement(plane.offer("a", data=b"old"))
        lease = plane.offer("a", data=b"new")
        settlement = await plane.settlement(lease)
        assert isinstance(settlement, Done)
        assert plane.store["out/a/copy.txt"].data == b"new"
        assert manifest(plane, lease).token == lease.token


async def test_a_conflict_without_end(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        plane.faults["PUT /store/out/a/copy.txt"] = [Response(status_code=412) for _ in range(20)]
        failure = await plane.failure(plane.offer("a"))
        assert failure.retry
        assert len([event for event in plane.of_kind("put") if event[1] == "out/a/copy.txt"]) == 4
        assert not plane.seen("put", "out/a/result.json")


async def test_an_expired_url_is_asked_for_once_more(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        plane.faults["PUT /store/out/a/copy.txt"] = [Response(status_code=403)]
        assert isinstance(await plane.settlement(plane.offer("a")), Done)
        plane.faults["PUT /store/out/b/copy.txt"] = [Response(status_code=403), Response(status_code=403)]
        failure = await plane.failure(plane.offer("b"))
        assert (failure.reason, failure.retry) == ("store", True)


async def test_a_store_with_long_etags_gets_its_manifest_too(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        plane.faults["PUT /store/out/a/copy.txt"] = [Response(headers={"ETag": f'"{"e" * 200}"'})]
        lease = plane.offer("a")
        assert isinstance(await plane.settlement(lease), Done)
        assert manifest(plane, lease).outputs[0].etag == "e" * 200


# ── what goes wrong with the machine ───────────────────────────────────────────────────────────────────────


async def test_a_full_disk_gives_the_object_back(tmp_path: Path) -> None:
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
        assert isinstance(await plane.settlement(lease), Released)
        process.terminate()
        code, log = await left(process)
        assert (code, "No space left on device" in log) == (Exit.LEFT, True)


async def test_work_goes_on_after_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, pace=Pace(pause_seconds=0.05)) as plane:
        with monkeypatch.context() as full:
            full.setattr(transfer, "RESERVE_BYTES", 1 << 60)
            assert isinstance(await plane.settlement(plane.offer("a")), Released)
        assert isinstance(await plane.settlement(plane.offer("a")), Done)
        assert len(plane.of_kind("get")) == 1  # nothing was fetched that would not have fitted


async def test_nothing_is_asked_for_in_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, StubControlPlane(slots=2), Pace(pause_seconds=3600)) as plane:
        gate = tmp_path / "gate"
        placed = plane.offer("placed", shell(WAIT, str(gate)))
        await in_the_handler(gate)
        monkeypatch.setattr(transfer, "RESERVE_BYTES", 1 << 60)
        assert isinstance(await plane.settlement(plane.offer("a")), Released)
        since = len(plane.events)
        plane.offer("b")
        gate.touch()  # what is in the handler is finished all the same
        assert isinstance(await plane.settlement(placed), Done)
        assert [event for event in plane.events[since:] if event[0] == "ask"] == [("ask", 0, 1)]
        assert not plane.seen("lease", "b")


async def test_a_machine_that_stays_broken_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = StubControlPlane()
    async with served(plane):
        monkeypatch.setattr(transfer, "RESERVE_BYTES", 1 << 60)
        settings = Settings(plane.url, ONE_TIME_TOKEN, tmp_path)
        task = asyncio.create_task(live(settings, Pace(pause_seconds=0.01, faults=3)))
        leases = [plane.offer(f"k{number}") for number in range(9)]
        async with asyncio.timeout(30):
            assert await task == Exit.UNFIT
        given_back = [lease for lease in leases if lease.token in plane.settled]
        assert 3 <= len(given_back) < 9
        assert all(isinstance(plane.settled[lease.token], Released) for lease in given_back)


# ── leases that are lost ───────────────────────────────────────────────────────────────────────────────────


async def test_a_lease_lost_in_the_handler_ends_its_work(tmp_path: Path) -> None:
    plane = StubControlPlane(orphan_seconds=4.5)  # so heartbeats come long before the lease's own deadline
    async with working(tmp_path, plane) as (_, process):
        gate = tmp_path / "gate"
        lease = plane.offer("a", shell(WAIT, str(gate)))
        pid = await in_the_handler(gate)
        plane.lost.add(lease.token)
        await eventually(lambda: not alive(pid))
        assert isinstance(await plane.settlement(plane.offer("b")), Done)
        assert lease.token not in plane.settled
        assert not any(event[1] == "a" for event in plane.of_kind("outputs", "put"))
        process.terminate()
        assert (await left(process))[0] == Exit.LEFT


async def test_a_lease_lost_while_publishing_publishes_nothing_further(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        plane.faults["PUT /store/out/a/a.txt"] = [Response(status_code=412)]
        plane.held["PUT /store/out/a/b.txt"] = asyncio.Event()
        plane.held["PUT /store/out/a/a.txt"] = hold = asyncio.Event()
        lease = plane.offer("a", shell('cp "$0" a.txt; cp "$0" b.txt'))
        await plane.until(lambda: plane.seen("put", "out/a/b.txt") and plane.seen("put", "out/a/a.txt"))
        plane.lost.add(lease.token)
        hold.set()  # its 412 makes the agent ask again, which is answered 409
        assert isinstance(await plane.settlement(plane.offer("b")), Done)
        assert lease.token not in plane.settled
        assert not plane.seen("put", "out/a/result.json")


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
        await eventually(lambda: not alive(pid))
        await eventually(lambda: asyncio.get_running_loop().time() > started_at + 2.5)
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


# ── coming and going ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(number: int, tmp_path: Path) -> None:
    async with working(tmp_path) as (plane, process):
        gate = tmp_path / "gate"
        placed = plane.offer("placed", shell(WAIT, str(gate)))
        await in_the_handler(gate)
        ahead = plane.offer("ahead")
        await plane.until(lambda: plane.seen("get", "in/ahead"))
        process.send_signal(number)
        assert isinstance(await plane.settlement(ahead), Released)
        assert placed.token not in plane.settled
        waiting = plane.offer("waiting")
        gate.touch()
        assert isinstance(await plane.settlement(placed), Done)
        code, log = await left(process)
        assert code == Exit.LEFT, log
        assert waiting.token not in plane.settled
        assert not plane.seen("lease", "waiting")


async def test_a_second_signal_gives_everything_back_at_once(tmp_path: Path) -> None:
    async with working(tmp_path) as (plane, process):
        gate = tmp_path / "gate"
        placed = plane.offer("placed", shell(WAIT, str(gate)))
        pid = await in_the_handler(gate)
        ahead = plane.offer("ahead")
        await plane.until(lambda: plane.seen("get", "in/ahead"))
        process.terminate()
        assert isinstance(await plane.settlement(ahead), Released)
        process.terminate()
        assert isinstance(await plane.settlement(placed), Released)
        assert (await left(process))[0] == Exit.LEFT
        assert not alive(pid)


async def test_the_control_plane_drains(tmp_path: Path) -> None:
    async with working(tmp_path) as (plane, process):
        gate = tmp_path / "gate"
        lease = plane.offer("a", shell(WAIT, str(gate)))
        await in_the_handler(gate)
        plane.draining = True
        plane.offer("ignored", data=None)
        gate.touch()
        assert isinstance(await plane.settlement(lease), Done)
        assert (await left(process))[0] == Exit.LEFT


async def test_an_idle_agent_leaves(tmp_path: Path) -> None:
    async with working(tmp_path, StubControlPlane(idle_seconds=0.5)) as (plane, process):
        lease = plane.offer("a")
        assert isinstance(await plane.settlement(lease), Done)
        code, log = await left(process)
        assert (code, "idle" in log) == (Exit.LEFT, True)


async def test_sigkill_leaves_nothing_running(tmp_path: Path) -> None:
    async with working(tmp_path) as (plane, process):
        gate = tmp_path / "gate"
        plane.offer("a", shell(WAIT, str(gate)))
        pid = await in_the_handler(gate)
        children = descendants(process.pid)
        assert pid in children
        process.kill()
        await eventually(lambda: not any(alive(child) for child in children))


async def test_the_next_agent_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    async with served(StubControlPlane()) as plane:
        gate = tmp_path / "gate"
        async with agent(plane, tmp_path) as killed:
            plane.offer("a", shell(WAIT, str(gate)))
            await in_the_handler(gate)
            killed.kill()
        litter = set(tmp_path.glob("yurt-agent-*"))
        assert len(litter) == 2
        plane._instance = ""
        async with agent(plane, tmp_path) as process:
            assert isinstance(await plane.settlement(plane.offer("b")), Done)
            assert not litter & set(tmp_path.iterdir())
            process.terminate()
            assert (await left(process))[0] == Exit.LEFT
        assert not list(tmp_path.glob("yurt-agent-*"))


async def test_a_worker_that_is_slain_stops_at_once(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.lease_seconds = 1.0
    async with working(tmp_path, plane) as (_, process):
        gate = tmp_path / "gate"
        plane.offer("a", shell(WAIT, str(gate)))
        pid = await in_the_handler(gate)
        plane.revoked = True
        code, log = await left(process)
        assert (code, "refused" in log) == (Exit.REFUSED, True)
        assert not alive(pid)
        assert not plane.settled


async def test_a_wrong_token_is_told_once(tmp_path: Path) -> None:
    async with served(StubControlPlane()) as plane:
        async with agent(plane, tmp_path, YURT_TOKEN="wrong-token-0123456789") as process:
            code, log = await left(process)
        assert (code, "the token was used" in log) == (Exit.REFUSED, True)
        assert len(plane.of_kind("hello")) == 1


async def test_of_two_agents_with_one_token_the_second_is_refused(tmp_path: Path) -> None:
    async with working(tmp_path) as (plane, first):
        async with agent(plane, tmp_path) as second:
            assert (await left(second))[0] == Exit.REFUSED
        assert first.returncode is None
        assert isinstance(await plane.settlement(plane.offer("a")), Done)


async def test_hello_is_repeated_until_the_control_plane_is_there(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.faults["POST /v1/workers/hello"] = [Response(status_code=503), Response(status_code=502)]
    async with working(tmp_path, plane):
        assert len(plane.of_kind("hello")) == 3


async def test_a_signal_ends_an_agent_that_has_not_reached_anybody(tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.held["POST /v1/workers/hello"] = asyncio.Event()
    async with served(plane), agent(plane, tmp_path) as process:
        await plane.until(lambda: plane.seen("hello"))
        process.terminate()
        assert (await left(process))[0] == Exit.LEFT


async def test_the_control_plane_goes_and_comes_back(tmp_path: Path) -> None:
    plane = StubControlPlane()
    gate = tmp_path / "gate"
    async with contextlib.AsyncExitStack() as stack:
        async with served(plane):
            port = int(plane.url.rpartition(":")[2])
            await stack.enter_async_context(agent(plane, tmp_path))
            lease = plane.offer("a", shell(WAIT, str(gate)))
            await in_the_handler(gate)
        gate.touch()  # its result cannot be published: nobody says where
        async with served(plane, port):
            assert isinstance(await plane.settlement(lease), Done)
            assert isinstance(await plane.settlement(plane.offer("b")), Done)


async def test_an_orphan_leaves(tmp_path: Path) -> None:
    plane = StubControlPlane(orphan_seconds=2.0)
    gate = tmp_path / "gate"
    async with contextlib.AsyncExitStack() as stack:
        async with served(plane):
            process = await stack.enter_async_context(agent(plane, tmp_path))
            plane.offer("a", shell(WAIT, str(gate)))
            pid = await in_the_handler(gate)
        code, log = await left(process)
        assert (code, "orphaned" in log) == (Exit.ORPHANED, True)
        assert not alive(pid)


async def test_an_agent_with_work_is_no_orphan(tmp_path: Path) -> None:
    plane = StubControlPlane(orphan_seconds=3.0)
    async with working(tmp_path, plane) as (_, process):
        gate = tmp_path / "gate"
        lease = plane.offer("a", shell(WAIT, str(gate)))
        await plane.until(lambda: len(plane.of_kind("heartbeat")) >= 4)
        gate.touch()
        assert isinstance(await plane.settlement(lease), Done)
        assert process.returncode is None


# ── what it tells ──────────────────────────────────────────────────────────────────────────────────────────


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
            await eventually(lambda: sum(line["event"] == "ended" for line in logs) == 3)
        busy.set()  # the first one's settlement was held up, so the others share a request
        assert isinstance(await plane.settlement(leases["good"]), Done)
        assert leases["bad"].token not in plane.settled


async def test_logs_name_the_lease_and_keep_secrets(tmp_path: Path) -> None:
    async with working(tmp_path, YURT_LABEL="yurt-test-1") as (plane, process):
        lease = plane.offer("a")
        await plane.settlement(lease)
        plane.faults["GET /store/in/b"] = [Response(status_code=503) for _ in range(9)]
        await plane.settlement(plane.offer("b"))
        await plane.settlement(plane.offer("c", url="http://127.0.0.1:1/c?X-Amz-Signature=secret"))
        process.terminate()
        _, log = await left(process)
        lines = [json.loads(line) for line in log.splitlines()]
        about = [line for line in lines if line.get("key") == "a"]
        assert len(about) >= 2
        for line in about:
            assert (line["worker"], line["label"], line["pipeline"]) == (7, "yurt-test-1", "photos")
            assert (line["lease"], line["token"]) == (lease.id, lease.token)
        for secret in (ONE_TIME_TOKEN, WORKER_TOKEN, "X-Amz", "secret", "HTTP Request"):
            assert secret not in log


async def test_handlers_see_no_secret_of_the_agent(tmp_path: Path) -> None:
    async with working(tmp_path, AWS_SECRET_ACCESS_KEY="aws-secret") as (plane, _):
        lease = plane.offer("a", shell('env > env.txt; : "$0"'))
        assert isinstance(await plane.settlement(lease), Done)
        environment = plane.store["out/a/env.txt"].data.decode()
        assert "PATH=" in environment
        assert "YURT_TOKEN" not in environment
        assert "aws-secret" not in environment


@pytest.mark.parametrize(
    ("name", "value"),
    [("YURT_URL", "ftp://x"), ("YURT_TOKEN", ""), ("YURT_LOG", "xml"), ("YURT_WORK_DIR", "/dev/null/x")],
)
async def test_a_wrong_environment_is_told_in_one_line(name: str, value: str, tmp_path: Path) -> None:
    plane = StubControlPlane()
    plane.url = "http://127.0.0.1:1"
    async with agent(plane, tmp_path, **{name: value}) as process:
        code, log = await left(process)
    assert code == Exit.SETTINGS
    assert log.startswith(f"yurt worker: {name} ")
    assert log.count("\n") == 1
