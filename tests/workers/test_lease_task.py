"""One lease from the fetch to its settlement, against a control plane and a store over real HTTP."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from starlette.responses import Response

from tests.workers.agents import manifest, running
from tests.workers.control_plane import (
    COPY,
    LIMITS,
    MODIFIED,
    ServedContent,
    shell,
)
from workers.manifest import Manifest
from workers.protocol import Absent, Done, Expected, Handler, Unchanged


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


async def test_a_result_names_its_share_of_what_its_machine_costs(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:  # one slot
        lease = plane.offer("a", usd_per_hour="3600")
        settlement = await plane.settlement(lease)
        assert isinstance(settlement, Done)
        record = manifest(plane, lease)
        assert record.cost_usd is not None
        assert Decimal(record.cost_usd) >= Decimal(settlement.seconds["fetch"] + settlement.seconds["handle"])
        await plane.settlement(plane.offer("b"))
        assert b"cost_usd" not in plane.store["out/b/result.json"].data


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


async def test_content_that_the_manifest_names_is_not_handled_again(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        first = await plane.settlement(plane.offer("a"))
        assert isinstance(first, Done)
        again = await plane.settlement(plane.offer("a", manifest=True))
        assert isinstance(again, Unchanged)
        assert again.fetched is not None
        assert again.fetched.etag == plane.store["in/a"].etag
        assert {output.name: output.etag for output in again.outputs} == {
            output.name: output.etag for output in first.outputs
        }
        assert len(plane.of_kind("outputs")) == 1


async def test_the_verdict_among_the_labels_is_told_and_again_from_the_manifest(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "checked.py").write_text(
        "from workers.handlers import Result\ndef handle(job): return Result((), labels={'verdict': 'review'})\n"
    )
    async with running(tmp_path, handlers=own) as plane:
        handler = Handler(kind="python", options={"function": "checked:handle"}, limits=LIMITS)
        settlement = await plane.settlement(plane.offer("a", handler))
        assert isinstance(settlement, Done)
        assert settlement.verdict == "review"
        again = await plane.settlement(plane.offer("a", handler, manifest=True))
        assert isinstance(again, Unchanged)
        assert again.verdict == "review"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"x" * (3 << 20)], ids=["empty", "torn", "other", "long"])
async def test_a_manifest_that_cannot_be_read_means_nothing(tmp_path: Path, content: bytes) -> None:
    async with running(tmp_path) as plane:
        plane.store["out/a/result.json"] = ServedContent(content)
        lease = plane.offer("a", manifest=True)
        plane.offers_to_replace = True
        assert isinstance(await plane.settlement(lease), Done)


async def test_a_manifest_of_other_content_or_of_another_object_means_work(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        await plane.settlement(plane.offer("a"))
        plane.store["out/b/result.json"] = plane.store["out/a/result.json"]
        plane.offers_to_replace = True
        assert isinstance(await plane.settlement(plane.offer("b", manifest=True)), Done)
        newest = Expected(believed=True)
        lease = plane.offer("a", manifest=True, data=b"something else", expected=newest)
        assert isinstance(await plane.settlement(lease), Done)


async def test_content_not_newer_than_the_manifests_is_a_replica_that_is_behind(tmp_path: Path) -> None:
    async with running(tmp_path) as plane:
        await plane.settlement(plane.offer("a"))
        record = Manifest.decode(plane.store["out/a/result.json"].data)
        later = record.model_copy(
            update={
                "input": record.input.model_copy(update={"etag": "newer", "modified": MODIFIED + timedelta(seconds=5)})
            }
        )
        plane.store["out/a/result.json"] = ServedContent(later.encode())
        assert (await plane.failure(plane.offer("a", manifest=True))).reason == "replica-behind"
