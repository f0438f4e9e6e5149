"""Labels of a manifest that fit a tile."""

from __future__ import annotations

from typing import Any

from webhook.page.manifests import ManifestRead, short_labels
from workers.manifest import Manifest


def read(**labels: Any) -> ManifestRead:
    fields = {
        "pipeline": "photos", "bucket": "b", "key": "k", "input": {"etag": "e", "size": 1}, "token": 1, "attempt": 1,
        "handler": "photo", "outputs": [], "labels": labels, "seconds": {"fetch": 0, "handle": 0, "publish": 0},
        "finished_at": "2026-01-01T10:30:02Z",
    }  # fmt: skip
    return ManifestRead(Manifest.model_validate(fields))


def test_words_and_numbers_fit_and_structures_do_not() -> None:
    labels = short_labels(read(a=1.5, b="cat", c=True, d=False, e=None, f=[1], g={"h": 1}, thumbhash="x", i=""))
    assert labels == [("a", "1.5"), ("b", "cat"), ("c", "yes")]


def test_a_few_at_most_and_none_without_a_manifest() -> None:
    assert len(short_labels(read(**{letter: letter for letter in "abcdefghij"}))) == 5
    assert short_labels(ManifestRead(None, "gone")) == []
