"""Room in the cache: what is removed for a new model, what never is, and what is said before a byte is fetched."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from tests.polling import wait_until
from tests.workers.models.published import PART, TestModel, content, published
from tests.workers.models.range_server import RangeStore, serving
from workers import disk_space
from workers.models.cache import ModelCache
from workers.models.errors import ModelUnavailable
from workers.sandbox.errors import WorkerFault
from workers.scratch import discard

SIZE = 2 * PART


def _models(store: RangeStore, count: int) -> list[TestModel]:
    return [published(store, {"model.onnx": content(SIZE, seed)}, f"model-{seed}") for seed in range(count)]


def _cached(models: list[TestModel], cache: ModelCache) -> list[str]:
    return [model.ref.name for model in models if model.is_in(cache)]


def _fetch(model: TestModel, folder: Path, limit_bytes: int | None) -> None:
    ModelCache(folder, limit_bytes)
    model.fetch(ModelCache(folder, limit_bytes)).run()
    wait_until(lambda: not list(folder.glob("*.journal")))


def _used_at(folder: Path, model: TestModel, seconds: int) -> None:
    os.utime(folder / f"{model.ref.root}.lock", (seconds, seconds))


def test_the_one_that_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        models = _models(store, 4)
        limit = 3 * SIZE + 10_000  # their manifests count too
        for model in models[:3]:
            _fetch(model, tmp_path, limit)
        for model, seconds in zip(models, (3_000, 1_000, 2_000), strict=False):
            _used_at(tmp_path, model, seconds)
        _fetch(models[3], tmp_path, limit)
        assert _cached(models, ModelCache(tmp_path)) == ["model-0", "model-2", "model-3"]
        assert not list(tmp_path.glob(f"{models[1].ref.root}*"))


def test_to_use_a_model_keeps_it(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        models = _models(store, 3)
        for model in models[:2]:
            _fetch(model, tmp_path, None)
            _used_at(tmp_path, model, 1_000 + len(model.ref.name))
        _used_at(tmp_path, models[1], 2_000)
        assert models[0].is_in(ModelCache(tmp_path))
        _fetch(models[2], tmp_path, 2 * SIZE + 10_000)
        assert _cached(models, ModelCache(tmp_path)) == ["model-0", "model-2"]


def test_what_is_in_use_is_never_removed(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        models = _models(store, 3)
        for model in models[:2]:
            _fetch(model, tmp_path, None)
        cache = ModelCache(tmp_path, SIZE + 10_000)
        first, second = (cache.hold(model.ref.root) for model in models[:2])
        assert first
        assert second
        asked = len(store.requests)
        with pytest.raises(ModelUnavailable, match=r"model-2 has .* GB, and .* in use: YURT_CACHE_BYTES allows"):
            models[2].fetch(cache).run()
        assert [path for path, _ in store.requests[asked:]] == [f"{models[2].prefix}/manifest.json"]
        assert models[0].lies_in(first.path)
        first.close()
        with pytest.raises(ModelUnavailable):  # removing the first would not be enough
            models[2].fetch(cache).run()
        assert models[0].lies_in(first.path)
        second.close()
        models[2].fetch(cache).run()
        assert _cached(models, cache) == ["model-2"]


def test_a_model_larger_than_the_limit_removes_nothing(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        models = _models(store, 2)
        _fetch(models[0], tmp_path, SIZE + 10_000)
        with pytest.raises(ModelUnavailable, match="YURT_CACHE_BYTES"):
            models[1].fetch(ModelCache(tmp_path, SIZE // 2)).run()
        assert _cached(models, ModelCache(tmp_path)) == ["model-0"]


def test_no_limit(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        models = _models(store, 3)
        for model in models:
            _fetch(model, tmp_path, 0)
        assert len(_cached(models, ModelCache(tmp_path))) == 3


@pytest.mark.parametrize("limit", [None, 0])
def test_a_disk_that_is_too_small_is_said_with_numbers_before_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    with serving(RangeStore()) as store:
        [model] = _models(store, 1)
        free = shutil.disk_usage(tmp_path).free
        monkeypatch.setattr(disk_space, "RESERVE_BYTES", free - SIZE // 2)
        with pytest.raises(WorkerFault, match=r"model-0 has 0\.00 GB, of which .* has 0\.00 GB free"):
            model.fetch(ModelCache(tmp_path, limit)).run()
        assert store.sent_bytes == 0
        assert not list(tmp_path.glob("*.partial"))


def test_an_unfinished_model_that_no_worker_fetches_makes_room_first(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        models = _models(store, 2)
        _fetch(models[0], tmp_path, None)
        unfinished = tmp_path / f"{'e' * 64}.partial"
        unfinished.mkdir()
        with (unfinished / "model.onnx").open("wb") as file:
            file.truncate(SIZE)
        _fetch(models[1], tmp_path, 2 * SIZE + 10_000)
        assert len(_cached(models, ModelCache(tmp_path))) == 2
        assert not unfinished.exists()


def test_a_removal_that_was_cut_off_leaves_no_model_that_seems_whole(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        [model] = _models(store, 1)
        _fetch(model, tmp_path, None)
        # As the removal leaves it when its process is killed in the middle: without name and journal, half empty.
        (tmp_path / model.ref.root).rename(tmp_path / f"{model.ref.root}.partial")
        discard(tmp_path / f"{model.ref.root}.partial" / "model.onnx")
        (tmp_path / f"{model.ref.root}.partial").chmod(0o700)
        (tmp_path / f"{model.ref.root}.partial" / "model.onnx").unlink()
        assert not model.is_in(ModelCache(tmp_path))
        before = store.sent_bytes
        _fetch(model, tmp_path, None)
        assert store.sent_bytes - before == SIZE
        assert model.is_in(ModelCache(tmp_path))


def test_mapped_pages_outlast_the_removal(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        models = _models(store, 2)
        _fetch(models[0], tmp_path, None)
        held = ModelCache(tmp_path).hold(models[0].ref.root)
        assert held
        with contextlib.closing(held), (held.path / "model.onnx").open("rb") as file:
            held.close()
            _fetch(models[1], tmp_path, SIZE + 10_000)
            assert file.read() == models[0].files["model.onnx"]
