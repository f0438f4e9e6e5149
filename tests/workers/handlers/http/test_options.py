"""Options of the ``http`` handler: presets, placeholders, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue

from workers.handlers.http.options import HttpOptions, fill, filled

VALUES = {"input_url": "http://h/s/input", "key": "a {etag}.jpg", "etag": "e1"}


def test_a_preset_fills_in_what_is_not_given() -> None:
    cog = HttpOptions.model_validate({"preset": "cog", "input": {"scale": 2}})
    assert (cog.port, cog.ready, cog.path, cog.answer) == (5000, "/health-check", "/predictions", "output")
    assert cog.json_body() == {"input": {"scale": 2, "image": "{input_url}"}}
    assert HttpOptions.model_validate({"preset": "cog", "port": 5001}).port == 5001
    openai = HttpOptions.model_validate({"preset": "openai", "prompt": "What is it?", "model": "m"})
    body: Any = openai.json_body()
    assert body["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": "{input_url}"}}


def test_placeholders_are_filled_in_one_pass_and_never_in_names() -> None:
    template: JsonValue = {"{key}": ["{input_url}", 5, None, {"to": "{output_url:out.png}"}], "k": "{key}"}
    assert filled(template, VALUES, "http://h/s/output/") == {
        "{key}": ["http://h/s/input", 5, None, {"to": "http://h/s/output/out.png"}],
        "k": "a {etag}.jpg",
    }
    assert fill("{unknown} {etag} {output_url:../x}", VALUES, "o/") == "{unknown} e1 {output_url:../x}"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"port": 0, "body": "file"}, "greater than or equal"),
        ({"body": "file"}, "port"),
        ({"port": 80}, "template is missing"),
        ({"port": 80, "preset": "openai"}, "prompt is missing"),
        ({"port": 80, "body": "file", "path": "x"}, "pattern"),
        ({"port": 80, "body": "file", "path": "/a b"}, "pattern"),
        ({"port": 80, "body": "file", "headers": {"Host": "x"}}, "is no header"),
        ({"port": 80, "body": "file", "headers": {"a:b": "x"}}, "is no header"),
        ({"port": 80, "body": "file", "name": "../x"}, "pattern"),
        ({"port": 80, "body": "file", "environment": {"A-B": "x"}}, "pattern"),
        ({"port": 80, "body": "file", "folder": "src"}, "pattern"),
        ({"port": 80, "body": "file", "folder": "/a\0b"}, "pattern"),
        ({"port": 80, "body": "file", "preset": "tgi"}, "cog"),
        ({"port": 80, "body": "file", "unknown": 1}, "Extra inputs"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        HttpOptions.model_validate(options)
