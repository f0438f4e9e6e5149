"""Wrong verdicts, versions and labels are noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from infra.demo.inventory import METADATA, Inventory, PhotoResult
from infra.demo.photos import SamplePhoto
from infra.demo.results import StoredObject
from infra.demo.verify_checks import problems_of_checks
from tests.infra.demo.fixtures import process_photos
from workers.manifest import Manifest
from workers.protocol import MANIFEST

ROOT = hashlib.sha256(b"model").hexdigest()
LABELS = [{"label": "SFW", "score": 0.9}, {"label": "NSFW", "score": 0.06}, {"label": "NSFL", "score": 0.04}]
CHECK = {"name": "safety", "root": ROOT, "verdict": "ok", "because": [], "labels": LABELS}


@pytest.fixture(scope="module")
def plain(photos: dict[str, SamplePhoto], tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    return process_photos([photos["tiny.jpg"]], tmp_path_factory.mktemp("photos"))


def checked(plain: Inventory, **changes: Any) -> tuple[PhotoResult, Inventory]:
    """A result as the check leaves it, but for the changes of metadata.json."""
    [result] = plain.results
    metadata = {**result.metadata, "verdict": "ok", "pictures": "published", "checks": [CHECK], **changes}
    manifest = result.manifest
    assert manifest
    recorded = manifest.model_copy(update={"models": {"safety": ROOT}, "labels": {"verdict": metadata["verdict"]}})
    outputs = {**result.outputs, METADATA: stored(metadata), MANIFEST: stored(recorded)}
    pipeline = plain.pipeline.model_copy(update={"models": ("safety",), "options": {"checks": ["safety"]}})
    return replace(result, outputs=outputs), replace(plain, pipeline=pipeline, models={"safety": ROOT})


def stored(content: dict[str, Any] | Manifest) -> StoredObject:
    return StoredObject("0", content.encode() if isinstance(content, Manifest) else json.dumps(content).encode())


def test_what_the_check_has_left_is_right(plain: Inventory) -> None:
    assert list(problems_of_checks(*checked(plain))) == []


def test_a_pipeline_without_checks_has_nothing_to_verify(plain: Inventory) -> None:
    [result] = plain.results
    assert list(problems_of_checks(result, plain)) == []


REFUSED = [{"label": "NSFW", "score": 0.9}, {"label": "SFW", "score": 0.1}]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"checks": []}, "was checked by no model"),
        ({"checks": [CHECK | {"root": "0" * 64}]}, "has the version 000"),
        ({"checks": [CHECK | {"labels": []}]}, "has no label"),
        ({"checks": [CHECK | {"labels": LABELS[::-1]}]}, "the surest label is not the first"),
        ({"checks": [CHECK | {"labels": REFUSED}]}, "says ok, by its scores it is refused"),
        ({"checks": [CHECK | {"labels": REFUSED, "verdict": "refused"}]}, "is not the worst of its checks"),
        ({"verdict": "refused", "checks": [CHECK | {"labels": REFUSED, "verdict": "refused"}]}, "landscape is refused"),
        ({"checks": "none"}, "does not follow its schema"),
    ],
)
def test_what_is_wrong_is_said(plain: Inventory, changes: dict[str, Any], said: str) -> None:
    assert said in " ".join(problems_of_checks(*checked(plain, **changes)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda manifest: {"models": {}}, "names the models {}"),
        (lambda manifest: {"labels": {"verdict": "review"}}, "the verdict is review"),
    ],
)
def test_the_manifest_has_to_say_the_same(
    plain: Inventory, change: Callable[[Manifest], dict[str, Any]], said: str
) -> None:
    result, inventory = checked(plain)
    assert result.manifest
    wrong = result.manifest.model_copy(update=change(result.manifest))
    result = replace(result, outputs={**result.outputs, MANIFEST: stored(wrong)})
    assert said in " ".join(problems_of_checks(result, inventory))
