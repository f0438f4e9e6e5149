"""metadata.json: its JSON Schema is the published one, and what the handler writes follows it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tests.sources import ROOT
from workers.handlers.photo.document import (
    CameraFacts,
    CheckResult,
    PdqHash,
    PhotoDocument,
    PictureState,
    ScoredLabel,
    json_schema,
)
from workers.handlers.photo.formats import Format

PUBLISHED = ROOT / "docs/metadata.schema.json"
FACTS: dict[str, Any] = {
    "width": 3,
    "height": 2,
    "format": Format.JPEG,
    "captured_at": None,
    "dominant_colour": None,
    "salvaged": False,
    "thumbhash": None,
    "orientation": 1,
    "has_alpha": False,
    "pages": 1,
    "camera": CameraFacts(make=None, model=None, lens=None),
}
CHECKS: dict[str, Any] = {
    "verdict": "review",
    "pictures": PictureState.PUBLISHED,
    "checks": [
        CheckResult(name="safety", verdict="review", because=["NSFW"], labels=[ScoredLabel(label="NSFW", score=0.4)])
    ],
    "embedding": [0.6, 0.8],
    "pdq": PdqHash(hash="0f" * 32, quality=100),
    "sharpness": 12.5,
}


def test_the_published_schema_is_that_of_the_document() -> None:
    expected = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    assert PUBLISHED.read_text(encoding="utf-8") == expected, f"write json_schema() to {PUBLISHED.name}, indented by 2"


@pytest.mark.parametrize("more", [{}, {"gps": None}, CHECKS])
def test_what_is_written_follows_the_schema_and_has_what_was_asked_for(more: dict[str, Any]) -> None:
    document = PhotoDocument(**FACTS, **more)
    written = json.loads(document.encode())
    jsonschema.validate(written, json_schema())
    assert set(written) == {*FACTS, *more}
    assert document.labels.items() <= written.items()
    assert set(document.labels) == {*FACTS, *more} - {
        *("orientation", "has_alpha", "pages", "camera", "gps", "embedding", "pdq", "sharpness")
    }


def test_every_field_has_a_description() -> None:
    schema = json_schema()
    for name, part in {"PhotoDocument": schema, **schema["$defs"]}.items():
        assert part["description"], name
        for field, described in part.get("properties", {}).items():
            assert (
                "description" in described
                or "$ref" in described
                or name == "CameraFacts"
                or field in ("label", "score")
            )
