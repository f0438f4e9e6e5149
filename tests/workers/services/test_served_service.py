"""A service whose server needs models: how far they are is reported, and why one cannot be had."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.polling import until
from tests.workers.agents import running
from tests.workers.control_plane import StubControlPlane
from tests.workers.models.published import PART, content, published
from tests.workers.models.range_server import RangeStore, redirect, serving
from tests.workers.servers.running import STAND_IN, free_port
from tests.workers.services.answering import TOKEN, order, request, whole
from webhook.proxy.direct_machine import DirectMachines
from webhook.proxy.exchange import MachineLost
from workers.models.manifest import ModelFile, ModelManifest, root_of
from workers.protocol import Download, ModelRef, ModelSource, ModelSources, ServiceOrder, ServiceReport
from workers.retry import Backoff
from workers.services import served_service


@contextmanager
def _ordered(ref: ModelRef, sources: Any) -> Iterator[StubControlPlane]:
    """A control plane that orders a server with a model."""
    plane, port = StubControlPlane(), free_port()
    plane.models[ref.root] = sources
    plane.order(
        ServiceOrder(
            name="echo",
            command=(sys.executable, str(STAND_IN), str(port), "{model:safety}"),
            port=port,
            ready="/health-check",
            start_seconds=20,
            models=(ref,),
        )
    )
    yield plane


def _states(plane: StubControlPlane) -> list[str]:
    return [report.state for report in plane.reports]


async def _failure(tmp_path: Path, plane: StubControlPlane) -> ServiceReport:
    """What is reported of a server that fails, once it was tried again."""
    async with running(tmp_path, plane):
        await plane.until(lambda: _states(plane).count("failing") >= 2)
        tried = len(plane.of_kind("model"))
        await plane.until(lambda: len(plane.of_kind("model")) > tried and _states(plane).count("failing") >= 4)
        first = _states(plane).index("failing")
        assert set(_states(plane)[first:]) == {"failing"}, "what is tried again does not hide why it failed"
        return plane.reports[-1]


async def test_how_far_the_models_are_is_reported_until_the_server_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_service, "REPORT_SECONDS", 0.05)
    with serving(RangeStore()) as store:
        model = published(store, {"model.bin": content(4 * PART)})
        store.before_chunk = lambda sent: store.ended.wait() if sent >= 2 * PART else None
        with _ordered(model.ref, model.sources) as plane:
            async with running(tmp_path, plane):
                await plane.until(lambda: plane.progress and plane.progress[-1].done_bytes >= 2 * PART)
                last = plane.progress[-1]
                assert (last.phase, last.model, last.total_bytes) == ("weights", "safety", 4 * PART)
                assert set(_states(plane)) == {"loading"}
                store.ended.set()
                await plane.until(lambda: "ready" in _states(plane))
                order = [state for n, state in enumerate(_states(plane)) if state not in _states(plane)[:n]]
                assert order == ["loading", "starting", "ready"]


@pytest.mark.parametrize("missing", [True, False])
async def test_a_model_that_cannot_be_had_is_told_as_the_servers_failure(tmp_path: Path, *, missing: bool) -> None:
    with serving(RangeStore(always=redirect)) as store:
        model = published(store, {"model.bin": content(PART)})
        with _ordered(model.ref, model.sources) as plane:
            if missing:
                plane.models.clear()
            failure = await _failure(tmp_path, plane)
            says = "no pipeline names this version any more" if missing else "answered a range with 307"
            assert says in failure.message


class NotedPause:
    """A pause that takes no time, and remembers after how many failures it was made."""

    def __init__(self) -> None:
        self.failures: list[int] = []

    def pause_seconds(self, failures: int) -> float:
        self.failures.append(failures)
        return 0.01


async def test_a_model_that_cannot_be_had_is_asked_for_less_and_less_and_a_newer_one_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = NotedPause()
    monkeypatch.setattr(served_service, "MODELS_PAUSE", pause)
    with serving(RangeStore()) as store:
        old, new = (published(store, {"model.bin": content(PART, seed)}) for seed in (1, 2))
        with _ordered(old.ref, old.sources) as plane:
            plane.models.clear()
            [missing] = plane.orders
            async with running(tmp_path, plane):
                await until(lambda: len(pause.failures) >= 4)
                assert pause.failures[:4] == [1, 2, 3, 4]
                monkeypatch.setattr(served_service, "MODELS_PAUSE", Backoff(first_seconds=3_600, longest_seconds=3_600))
                plane.models[new.ref.root] = new.sources
                plane.order(missing.model_copy(update={"models": (new.ref,)}))
                await plane.until(lambda: "ready" in _states(plane))


async def test_a_server_that_fails_with_its_models_there_waits_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause, plane = NotedPause(), StubControlPlane()
    monkeypatch.setattr(served_service, "MODELS_PAUSE", pause)
    plane.order(ServiceOrder(name="echo", command=(sys.executable, "-c", "raise SystemExit(1)"), port=free_port()))
    async with running(tmp_path, plane):
        await plane.until(lambda: _states(plane).count("failing") >= 2)
    assert not pause.failures


async def test_a_disk_that_is_too_small_for_the_models_is_told_with_numbers(tmp_path: Path) -> None:
    size = 4 << 40
    files = (ModelFile(path="model.safetensors", size=size, parts=("0" * 64,) * (size >> 30)),)
    manifest = ModelManifest(part_bytes=1 << 30, files=files).encode()
    ref = ModelRef(name="safety", root=root_of(manifest), size=size)
    with serving(RangeStore()) as store:
        store.put("manifest.json", manifest)
        link = Download(url=store.link("manifest.json"))
        there = ModelSource(path="model.safetensors", size=size, download=Download(url=store.link("x")))
        with _ordered(ref, lambda: ModelSources(root=ref.root, manifest=link, files=(there,))) as plane:
            failure = await _failure(tmp_path, plane)
            assert failure.message.startswith("The model safety has 4,398.05 GB")


async def test_a_service_says_that_it_takes_no_more_requests_before_it_refuses_any(tmp_path: Path) -> None:
    plane, port, gate = StubControlPlane(), free_port(), free_port()
    command = (sys.executable, str(STAND_IN), str(port))
    served = order(
        command=command, port=port, ready="/health-check", way="direct", direct_port=gate, direct_token=TOKEN
    )
    plane.order(served)
    machines = DirectMachines()

    async def answered() -> bool:
        try:
            async with machines.machine(f"http://127.0.0.1:{gate}", TOKEN).exchange(request(target=b"/pid")) as answer:
                return bool(await whole(answer.body))
        except MachineLost:
            return False

    async with running(tmp_path, plane):
        await plane.until(lambda: "ready" in _states(plane))
        held = plane.held["POST /v1/services/echo/report"] = asyncio.Event()
        plane.order(served.model_copy(update={"environment": {"CHANGED": "1"}}))
        await plane.until(lambda: _states(plane)[-1] == "starting")
        assert await answered(), "the control plane does not know it yet"
        begun = len(plane.reports)
        held.set()
        await plane.until(lambda: "ready" in _states(plane)[begun:])
        assert _states(plane)[begun:].index("ready") == len(_states(plane)[begun:]) - 1, "the old one is silent"
        assert await answered(), "its successor has the gate"
    await machines.aclose()
