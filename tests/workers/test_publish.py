"""Outputs and manifests on their way to the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.responses import Response

from tests.workers.agents import manifest, running
from tests.workers.control_plane import (
    shell,
)
from workers.protocol import Done


async def test_one_request_is_for_all_outputs(tmp_path: Path) -> None:
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


async def test_an_expired_url_is_replaced_once(tmp_path: Path) -> None:
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


async def test_a_lease_lost_while_publishing_publishes_nothing_further(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        plane.faults["PUT /store/out/a/a.txt"] = [Response(status_code=412)]
        plane.held["PUT /store/out/a/b.txt"] = asyncio.Event()
        plane.held["PUT /store/out/a/a.txt"] = hold = asyncio.Event()
        lease = plane.offer("a", shell('cp "$0" a.txt; cp "$0" b.txt'))
        await plane.until(lambda: plane.seen("put", "out/a/b.txt") and plane.seen("put", "out/a/a.txt"))
        plane.lost.add(lease.token)
        hold.set()  # its 412 makes the agent request another PUT, which is answered 409
        assert isinstance(await plane.settlement(plane.offer("b")), Done)
        assert lease.token not in plane.settled
        assert not plane.seen("put", "out/a/result.json")
