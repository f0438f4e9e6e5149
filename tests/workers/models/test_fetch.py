"""The steps of a fetch: the manifest first, then room, then parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.models.published import PART, content, published
from tests.workers.models.range_server import RangeStore, serving
from workers.models.cache import ModelCache
from workers.models.errors import ModelUnavailable

FILES = {"model.onnx": content(2 * PART)}


def test_a_manifest_with_other_bytes_is_not_believed(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model = published(store, FILES)
        store.put(f"{model.prefix}/manifest.json", b"{}")
        with pytest.raises(ModelUnavailable, match="another than its root says: publish the model anew"):
            model.fetch(ModelCache(tmp_path)).run()
        assert store.sent_bytes == 0


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model = published(store, FILES)
        store.objects.clear()
        with pytest.raises(ModelUnavailable, match="the request for the manifest with 404 NoSuchKey"):
            model.fetch(ModelCache(tmp_path)).run()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model = published(store, FILES)
        del store.objects[f"{model.prefix}/model.onnx"]
        with pytest.raises(ModelUnavailable, match=r"bytes \d+ to \d+ of model\.onnx.*404 NoSuchKey"):
            model.fetch(ModelCache(tmp_path)).run()


def test_a_name_that_no_file_system_takes(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model = published(store, {"a" * 300: b"x"})
        with pytest.raises(ModelUnavailable, match="No file can be called aaa"):
            model.fetch(ModelCache(tmp_path)).run()


def test_a_manifest_that_an_earlier_fetch_has_left_is_not_asked_for_again(tmp_path: Path) -> None:
    with serving(RangeStore()) as store:
        model = published(store, FILES)
        store.objects.pop(f"{model.prefix}/model.onnx")
        with pytest.raises(ModelUnavailable):
            model.fetch(ModelCache(tmp_path)).run()
        store.put(f"{model.prefix}/model.onnx", FILES["model.onnx"])
        del store.objects[f"{model.prefix}/manifest.json"]
        model.fetch(ModelCache(tmp_path)).run()
        assert model.is_in(ModelCache(tmp_path))
