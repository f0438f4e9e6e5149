"""Which pipelines an object concerns."""

from __future__ import annotations

import pytest

from webhook.config import Pipeline
from webhook.events import ContentVersion, EventKind, ObjectEvent, Quarantined, mark_of
from webhook.pipelines import Pipelines
from webhook.sources import Batch


def pipeline(place: str, *suffixes: str, pool: str = "local") -> Pipeline:
    return Pipeline.model_validate(
        {"input": f"s3://{place}", "output": "s3://results/", "suffixes": suffixes, "pool": pool}
    )


def event(bucket: str, key: str, kind: EventKind = EventKind.CREATED) -> ObjectEvent:
    return ObjectEvent("tigris", bucket, key, kind, ContentVersion(), None, mark_of(bucket, key))


@pytest.mark.parametrize(
    ("key", "watched"),
    [
        ("up/a.jpg", True),
        ("up/a.JPG", True),
        ("up/.jpg", True),
        ("up/a.jpeg", True),
        ("up/deep/er/a.jpg", True),
        ("up/a.jpg.txt", False),
        ("up/jpg", False),
        ("up/a.jpg/", False),
        ("up/", False),
        ("upa.jpg", False),
        ("Up/a.jpg", False),
        ("a/up/a.jpg", False),
        ("", False),
    ],
)
def test_prefix_counts_by_case_and_suffix_does_not(key: str, watched: bool) -> None:
    assert pipeline("photos/up/", ".jpg", ".JPEG").watches("photos", key) is watched


def test_without_suffixes_every_object_is_watched_and_folders_never_are() -> None:
    everything = pipeline("photos/")
    assert everything.watches("photos", "no-suffix")
    assert everything.watches("photos", "deep/.hidden")
    assert not everything.watches("photos", "folder/")
    assert not everything.watches("photos-2", "no-suffix")


PIPELINES = Pipelines(
    {
        3: ("thumbnails", pipeline("photos/up/", ".jpg")),
        5: ("labels", pipeline("photos/", ".jpg", pool="gpu")),
        7: ("text", pipeline("papers/", pool="gpu")),
    }
)


def test_an_event_goes_to_every_pipeline_that_watches_its_object() -> None:
    both, one = event("photos", "up/a.jpg"), event("photos", "a.jpg")
    intake = PIPELINES.route(Batch([both, one]))
    assert intake.hints == [(3, both), (5, both), (5, one)]
    assert intake.ignored == ()


def test_what_concerns_nobody_is_ignored_and_counted_where_it_belongs() -> None:
    events = [
        event("photos", "up/a.txt"),
        event("nowhere", "a.jpg"),
        event("photos", "up/a.jpg", EventKind.IRRELEVANT),
        event("nowhere", "a.jpg", EventKind.IRRELEVANT),
    ]
    intake = PIPELINES.route(Batch(events))
    assert not intake.hints
    assert intake.ignored == (0, 0, 3, 5, 0)


def test_quarantine_is_handed_on() -> None:
    bad = [Quarantined("tigris", "why", b"{}")]
    assert PIPELINES.route(Batch([], bad)).quarantined == bad


def test_the_models_of_a_pool_and_those_that_its_photos_are_checked_with() -> None:
    photos = {"input": "s3://photos-in/", "output": "s3://photos-out/", "pool": "gpu", "models": ["a", "b", "c"]}
    checked = Pipeline.model_validate({**photos, "options": {"checks": ["c", "a"]}})
    others = Pipeline.model_validate({**photos, "models": ["a", "d"], "handler": "python", "options": {"checks": "d"}})
    pipelines = Pipelines({1: ("x", checked), 2: ("y", others), 3: ("z", checked)})
    assert (pipelines.models_of_pool("gpu"), pipelines.checks_of_pool("gpu")) == (["a", "b", "c", "d"], ["c", "a"])
    assert pipelines.checks_of_pool("none") == []


def test_pipelines_of_a_pool() -> None:
    assert (PIPELINES.of_pool("local"), PIPELINES.of_pool("gpu"), PIPELINES.of_pool("none")) == ([3], [5, 7], [])
