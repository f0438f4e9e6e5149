"""An agent whose models are still on their way: what it reports, and how it leaves."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.responses import Response

from tests.polling import until
from tests.workers.agents import agent, exit_of
from tests.workers.checks.graphs import write_model
from tests.workers.control_plane import TIMEOUT_SECONDS, StubControlPlane, served
from tests.workers.models.published import PART, content, published
from tests.workers.models.range_server import RangeStore, serving
from tests.workers.processes import descendants
from workers.lifecycle import Exit
from workers.protocol import Done

MODEL = {"model.onnx": content(4 * PART)}


@asynccontextmanager
async def _fetching(tmp_path: Path, **welcome: float) -> AsyncIterator[tuple[StubControlPlane, RangeStore, Process]]:
    """An agent whose store stops sending in the middle of a model."""
    plane = StubControlPlane(**welcome)
    with serving(RangeStore()) as store:
        model = published(store, MODEL)
        store.before_chunk = lambda sent: store.ended.wait() if sent >= 2 * PART else None
        plane.models[model.ref.root] = model.sources
        plane.models_of_pool = (model.ref,)
        async with served(plane), agent(plane, tmp_path) as process:
            await until(lambda: store.sent_bytes >= 2 * PART)
            yield plane, store, process


async def test_progress_is_reported_until_the_first_lease_is_asked_for(tmp_path: Path) -> None:
    async with _fetching(tmp_path) as (plane, store, process):
        plane.faults["POST /v1/workers/progress"] = [Response(status_code=503), Response(status_code=404)]
        await plane.until(lambda: len(plane.progress) >= 3)
        assert not plane.of_kind("ask")
        last = plane.progress[-1]
        assert (last.phase, last.model, last.total_bytes) == ("weights", "safety", 4 * PART)
        assert 2 * PART <= last.done_bytes < 4 * PART
        store.ended.set()
        assert isinstance(await plane.settlement(plane.offer("a", models=plane.models_of_pool)), Done)
        process.terminate()
        code, log = await exit_of(process)
        assert code == Exit.LEFT
        for said in ('"model-fetched"', '"model-ready"', '"weights-ready"'):
            assert said in log


@asynccontextmanager
async def _with_colours(tmp_path: Path, *checks: str) -> AsyncIterator[tuple[StubControlPlane, Process]]:
    """An agent whose pool has a model that can be loaded, and these checks."""
    plane = StubControlPlane()
    plane.welcome["checks"] = checks
    files = {path.name: path.read_bytes() for path in write_model(tmp_path / "colours").iterdir()}
    with serving(RangeStore()) as store:
        model = published(store, files, name="colours")
        plane.models[model.ref.root] = model.sources
        plane.models_of_pool = (model.ref,)
        async with served(plane), agent(plane, tmp_path) as process:
            yield plane, process


async def test_models_of_checks_are_loaded_as_soon_as_they_are_there(tmp_path: Path) -> None:
    async with _with_colours(tmp_path, "colours") as (_, process), asyncio.timeout(TIMEOUT_SECONDS):
        assert process.stderr
        while b"model loaded" not in (line := await process.stderr.readline()):
            assert line, "it has ended"


async def test_no_process_is_started_for_models_of_other_handlers(tmp_path: Path) -> None:
    async with _with_colours(tmp_path) as (plane, process):
        assert isinstance(await plane.settlement(plane.offer("a", models=plane.models_of_pool)), Done)
        below = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(process.pid)]
        assert below
        assert not [argv for argv in below if b"workers.inference" in argv]


async def test_a_drain_in_the_middle_of_the_weights(tmp_path: Path) -> None:
    async with _fetching(tmp_path) as (plane, _, process):
        plane.draining = True
        code, log = await exit_of(process)
        assert code == Exit.LEFT, log
        assert not plane.of_kind("ask")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_in_the_middle_of_the_weights(tmp_path: Path, number: int) -> None:
    async with _fetching(tmp_path) as (plane, _, process):
        process.send_signal(number)
        code, log = await exit_of(process)
        assert code == Exit.LEFT, log
        assert not plane.of_kind("ask")


async def test_a_worker_that_is_revoked_in_the_middle_of_the_weights(tmp_path: Path) -> None:
    async with _fetching(tmp_path) as (plane, _, process):
        plane.revoked = True
        assert (await exit_of(process))[0] == Exit.REFUSED


async def test_a_control_plane_that_is_gone_in_the_middle_of_the_weights(tmp_path: Path) -> None:
    async with _fetching(tmp_path, orphan_seconds=1.0) as (plane, _, process):
        plane.faults["POST /v1/workers/progress"] = [Response(status_code=503) for _ in range(100)]
        assert (await exit_of(process))[0] == Exit.ORPHANED
