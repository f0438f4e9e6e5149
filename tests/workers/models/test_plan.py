"""Plans of downloads, and answers of a control plane or a bucket that contradict each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.workers.models.published import PART, TestModel, content, published, unpublished
from tests.workers.models.range_server import RangeStore
from workers.models.errors import ModelChanged, ModelUnavailable
from workers.models.plan import plan_of, require_same
from workers.protocol import ModelRef, ModelSources

FILES = {"a/x": content(2 * PART + 1), "b": b"", "c": b"c"}


def _published() -> TestModel:
    return published(RangeStore(url="http://store"), FILES)


def _changed(sources: ModelSources, at: str, **fields: object) -> ModelSources:
    files = tuple(file.model_copy(update=fields) if file.path == at else file for file in sources.files)
    return sources.model_copy(update={"files": files})


def test_files_are_cut_into_parts_that_are_counted_through() -> None:
    model = _published()
    plan = plan_of(model.ref, model.sources(), model.manifest)
    assert [(part.number, part.path, part.offset, part.size) for part in plan.parts] == [
        (0, "a/x", 0, PART), (1, "a/x", PART, PART), (2, "a/x", 2 * PART, 1), (3, "c", 0, 1),
    ]  # fmt: skip
    assert plan.size == model.ref.size
    assert all(len(part.sha256) == 64 for part in plan.parts)


def test_parts_of_an_unpublished_model_have_no_digest() -> None:
    model = unpublished(RangeStore(url="http://store"), FILES)
    plan = plan_of(model.ref, model.sources(), None)
    assert {part.sha256 for part in plan.parts} == {""}
    assert plan.identity != plan_of(_published().ref, _published().sources(), _published().manifest).identity


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda ref, sources, manifest: (ref, sources, manifest + b" "), "another than its root says"),
        (
            lambda ref, sources, manifest: (ref, sources.model_copy(update={"root": "0" * 64}), manifest),
            "another version",
        ),
        (lambda ref, sources, manifest: (ref, _changed(sources, "c", size=2), manifest), "others than its manifest"),
        (lambda ref, sources, manifest: (ref, _changed(sources, "c", path="d"), manifest), "others than its manifest"),
        (lambda ref, sources, manifest: (ref.model_copy(update={"size": 1}), sources, manifest), "was to have 1"),
    ],
)
def test_contradictions_are_refused(
    spoil: Callable[[ModelRef, ModelSources, bytes], tuple[ModelRef, ModelSources, bytes]], says: str
) -> None:
    model = _published()
    assert model.manifest
    with pytest.raises(ModelUnavailable, match=says):
        plan_of(*spoil(model.ref, model.sources(), model.manifest))


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"path": "a"}, "a file and a folder"), ({"path": "b"}, "twice"), ({"etag": None}, "neither manifest nor ETags"),
     ({"path": "manifest.json"}, "a file and a folder")],
)  # fmt: skip
def test_unpublished_files_that_cannot_lie_side_by_side(fields: dict[str, object], says: str) -> None:
    model = unpublished(RangeStore(url="http://store"), FILES)
    with pytest.raises(ModelUnavailable, match=says):
        plan_of(model.ref, _changed(model.sources(), "c", **fields), None)


def test_renewed_sources_have_to_be_of_the_same_files() -> None:
    model = unpublished(RangeStore(url="http://store"), FILES)
    sources = model.sources()
    require_same(sources, model.sources())
    with pytest.raises(ModelChanged):
        require_same(sources, _changed(sources, "c", etag="other"))
    with pytest.raises(ModelUnavailable):
        require_same(sources, sources.model_copy(update={"files": sources.files[:2]}))
    with pytest.raises(ModelUnavailable):
        require_same(sources, sources.model_copy(update={"root": "0" * 64}))
