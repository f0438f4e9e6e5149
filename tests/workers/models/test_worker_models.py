"""An agent and its models: fetched before the first lease, within a lease where a version is new, held by jobs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.responses import Response

from tests.polling import until
from tests.workers.agents import WAIT, in_the_handler, running
from tests.workers.control_plane import StubControlPlane, served, shell
from tests.workers.models.published import IMPATIENT, PART, TestModel, content, published
from tests.workers.models.range_server import RangeStore, redirect, serving
from workers.client import ControlPlaneClient, Unauthorized
from workers.models.cache import ModelCache
from workers.models.errors import ModelUnavailable
from workers.models.manifest import ModelFile, ModelManifest, root_of
from workers.models.worker_models import WorkerModels
from workers.protocol import Done, Download, ModelRef, ModelSource, ModelSources, Released

FILES = {"model.onnx": content(3 * PART)}


def _known(plane: StubControlPlane, *models: TestModel) -> None:
    plane.models = {model.ref.root: model.sources for model in models}


async def test_the_models_of_the_pool_are_there_before_the_first_lease(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        plane, model = StubControlPlane(), published(store, FILES)
        _known(plane, model)
        plane.models_of_pool = (model.ref,)
        async with running(tmp_path, plane):
            assert store.sent_bytes == model.ref.size
            script = shell('cat "$1/model.onnx" > copy.bin', "{model:safety}")
            lease = plane.offer("a", script, models=(model.ref,))
            settlement = await plane.settlement(lease)
            assert isinstance(settlement, Done), settlement
            assert plane.store["out/a/copy.bin"].data == FILES["model.onnx"]
            assert settlement.seconds.keys() == {"fetch", "weights", "handle", "publish"}
            assert model.asked == 1


async def test_a_new_version_is_fetched_within_its_lease_while_an_older_one_is_in_use(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        plane = StubControlPlane(slots=2)
        old, new = (published(store, {"model.onnx": content(PART, seed)}) for seed in (1, 2))
        _known(plane, old, new)
        async with running(tmp_path, plane):
            gate = tmp_path / "gate"
            script = f'{WAIT}; cat "$2/model.onnx" > copy.bin'
            first = plane.offer("a", shell(script, str(gate), "{model:safety}"), models=(old.ref,))
            await in_the_handler(gate)
            second = plane.offer("b", shell('cat "$1/model.onnx" > copy.bin', "{model:safety}"), models=(new.ref,))
            assert isinstance(await plane.settlement(second), Done)
            await until(lambda: not list((tmp_path / "cache").glob("*.journal")))
            # One of the two has to go for a third: not the one that was used longest ago, which a job has.
            cache = ModelCache(tmp_path / "cache", 4 * PART + 10_000)
            await asyncio.to_thread(published(store, FILES, "third").fetch(cache).run)
            assert (old.is_in(cache), new.is_in(cache)) == (True, False)
            gate.touch()
            assert isinstance(await plane.settlement(first), Done)
            assert plane.store["out/a/copy.bin"].data == old.files["model.onnx"]
            assert plane.store["out/b/copy.bin"].data == new.files["model.onnx"]


async def test_leases_that_need_the_same_model_fetch_it_once(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        plane, model = StubControlPlane(slots=4), published(store, FILES)
        _known(plane, model)
        async with running(tmp_path, plane):
            leases = [plane.offer(key, models=(model.ref,)) for key in "abcd"]
            assert [type(await plane.settlement(lease)) for lease in leases] == [Done] * 4
            assert (store.sent_bytes, model.asked) == (model.ref.size, 1)


async def test_a_model_that_cannot_be_had_is_no_fault_of_the_object_and_holds_up_no_other(tmp_path: Path) -> None:
    with serving(RangeStore(always=redirect)) as store:
        plane, model = StubControlPlane(), published(store, FILES)
        _known(plane, model)
        plane.models_of_pool = (model.ref,)
        async with running(tmp_path, plane):
            settlement = await plane.settlement(plane.offer("a", models=(model.ref,)))
            assert isinstance(settlement, Released)
            assert settlement.cause == "handler"
            assert "answered a range with 307" in settlement.unavailable
            assert isinstance(await plane.settlement(plane.offer("b")), Done)


async def test_a_model_that_the_control_plane_does_not_know_any_more(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model = published(store, FILES)
        async with running(tmp_path) as plane:
            settlement = await plane.settlement(plane.offer("a", models=(model.ref,)))
            assert isinstance(settlement, Released)
            assert "no pipeline names this version any more" in settlement.unavailable


async def test_a_disk_that_is_too_small_is_the_machines(tmp_path: Path) -> None:
    size = 4 << 40
    paths = [f"{number}.safetensors" for number in range(8)]  # 32 TiB
    files = tuple(ModelFile(path=path, size=size, parts=("0" * 64,) * (size >> 30)) for path in paths)
    manifest = ModelManifest(part_bytes=1 << 30, files=files).encode()
    ref = ModelRef(name="vast", root=root_of(manifest), size=len(paths) * size)
    with serving(RangeStore()) as store:
        store.put("manifest.json", manifest)
        there = tuple(ModelSource(path=path, size=size, download=Download(url=store.link(path))) for path in paths)
        sources = ModelSources(root=ref.root, manifest=Download(url=store.link("manifest.json")), files=there)
        async with running(tmp_path) as plane:
            plane.models[ref.root] = lambda: sources
            settlement = await plane.settlement(plane.offer("a", models=(ref,)))
            assert isinstance(settlement, Released)
            assert (settlement.cause, settlement.unavailable) == ("machine", "")
            assert [path for path, _ in store.requests] == ["manifest.json"]


async def test_a_worker_that_leaves_stops_the_download(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model, plane = published(store, FILES), StubControlPlane()
        _known(plane, model)
        store.before_chunk = lambda _: store.ended.wait()
        async with served(plane), ControlPlaneClient(plane.url, "token" * 4) as client:
            models = WorkerModels(ModelCache(tmp_path), client, IMPATIENT)
            fetching = asyncio.create_task(models.fetch([model.ref]))
            await until(lambda: store.ranges_of(f"{model.prefix}/model.onnx"))
            progress = models.progress()
            assert progress
            assert (progress.model, progress.total_bytes) == ("safety", model.ref.size)
            await models.aclose()
            await fetching
            assert models.progress() is None
            with pytest.raises(ModelUnavailable, match="about to leave"):
                async with models.held([model.ref]):
                    raise AssertionError


async def test_a_worker_that_was_revoked_meanwhile(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model, plane = published(store, FILES), StubControlPlane()
        async with served(plane), ControlPlaneClient(plane.url, "token" * 4) as client:
            models = WorkerModels(ModelCache(tmp_path), client, IMPATIENT)
            plane.faults[f"GET /v1/models/{model.ref.root}"] = [_unauthorized()]
            with pytest.raises(Unauthorized):
                await models.fetch([model.ref])
            await models.aclose()


def _unauthorized() -> Response:
    return Response('{"error": "unauthorized", "message": "revoked"}', 401)
