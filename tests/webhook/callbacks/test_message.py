"""The body of a callback follows the published schema."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from tests.sources import ROOT
from webhook.callbacks.message import CallbackBody, CallbackData, CallbackOutput, json_schema

PUBLISHED = ROOT / "docs/callback.schema.json"
OUTPUT = CallbackOutput(name="256.webp", url="https://store/x", etag="e", size=3, content_type="image/webp")
DATA: dict[str, Any] = {
    "pipeline": "photos", "bucket": "in", "key": "ü.jpg", "sequence": 7, "etag": None, "verdict": None, "reason": None,
    "message": None, "outputs": [],
}  # fmt: skip


def test_the_published_schema_is_that_of_the_body() -> None:
    expected = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    assert PUBLISHED.read_text(encoding="utf-8") == expected, f"write json_schema() to {PUBLISHED.name}, indented by 2"


@pytest.mark.parametrize("more", [{}, {"etag": "v1", "verdict": "ok", "outputs": [OUTPUT]}, {"reason": "unreadable"}])
def test_what_is_sent_follows_the_schema(more: dict[str, Any]) -> None:
    body = CallbackBody(type="object.done", timestamp=datetime.now(UTC), data=CallbackData(**{**DATA, **more}))
    jsonschema.validate(json.loads(body.encode()), json_schema())
