"""Content types of outputs: what a handler makes, and nothing in which a browser runs scripts."""

from __future__ import annotations

import pytest

from webhook.config import Pipeline
from webhook.content_types import PASSIVE, allowed, is_allowed
from workers.handlers.outputs import content_type

PLACES = {"input": "s3://photos-in/", "output": "s3://photos-out/"}
ACTIVE = (
    "text/html", "image/svg+xml", "text/javascript", "application/javascript", "application/xhtml+xml", "text/xml",
    "application/xml", "text/css", "application/wasm", "application/x-shockwave-flash", "text/html; charset=utf-8",
    "TEXT/HTML", "multipart/x-mixed-replace", "application/rdf+xml", "text/x-component",
)  # fmt: skip


@pytest.mark.parametrize("handler", ["photo", "python", "command"])
def test_by_default_no_handler_makes_what_a_browser_runs(handler: str) -> None:
    pipeline = Pipeline.model_validate({**PLACES, "handler": handler})
    assert not [kind for kind in ACTIVE if is_allowed(kind, pipeline.allowed_content_types)]
    assert is_allowed("application/json", pipeline.allowed_content_types)


def test_the_photo_handler_makes_pictures_of_one_kind_and_json() -> None:
    assert is_allowed("image/webp", allowed("photo", None))
    assert not is_allowed("image/png", allowed("photo", None))
    assert not is_allowed("application/octet-stream", allowed("photo", None))


@pytest.mark.parametrize("name", ["a.csv", "a.jpg", "a.mp4", "a.mp3", "a.parquet", "a.jsonl", "a.txt", "a.gz", "a.bin"])
def test_usual_files_of_handlers_are_allowed(name: str) -> None:
    assert is_allowed(content_type(name), PASSIVE)


def test_what_is_configured_counts_alone() -> None:
    pipeline = Pipeline.model_validate({**PLACES, "content_types": ["text/html", "image/*"]})
    kinds = ("text/html; charset=utf-8", "image/svg+xml", "image/webp", "application/json")
    assert [is_allowed(kind, pipeline.allowed_content_types) for kind in kinds] == [True, True, True, False]
    assert is_allowed("text/html", Pipeline.model_validate({**PLACES, "content_types": ["*/*"]}).allowed_content_types)
    for wrong in ([], ["html"], ["Text/HTML"], ["text/html; charset=utf-8"]):
        with pytest.raises(ValueError, match="content_types"):
            Pipeline.model_validate({**PLACES, "content_types": wrong})
