"""The agent checks what a child sends."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from tests.workers.sandbox.jobs import JobFolder, failure, python, sandbox
from workers.handlers import HandlerError
from workers.sandbox.messages import HandlerFailed, JobEnd, TemplateReady
from workers.sandbox.replies import parse_end, parse_outcome, parse_ready


@pytest.mark.parametrize(
    ("name", "content_type", "times", "message"),
    [
        ("../x.txt", "text/plain", 1, "name"),
        ("", "text/plain", 1, "name"),
        (".hidden", "text/plain", 1, "name"),
        ("result.json", "application/json", 1, "manifest"),
        ("a.txt", "text/plain\r\nX-Evil: 1", 1, "content_type"),
        ("a.txt", "text/plain", 2, "twice"),
    ],
)
async def test_names_and_types_are_checked(
    folder: JobFolder, name: str, content_type: str, times: int, message: str
) -> None:
    handler = python("name_output", {"name": name, "content_type": content_type, "times": times})
    async with sandbox() as pool:
        error = await failure(pool, handler, folder.job())
    assert error.reason == "handler-error"
    assert message in error.message


GOOD = {"status": "failed", "reason": "unreadable", "message": "No.", "retry": False}


def outcome(**changed: object) -> bytes:
    return json.dumps({**GOOD, **changed}).encode()


def test_a_valid_outcome() -> None:
    assert parse_outcome(outcome()) == HandlerFailed("unreadable", "No.", retry=False)


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "other"},
        {"reason": "Not a code!"},
        {"message": "x" * 4_001},
        {"retry": 1},
        {"unknown": "field"},
    ],
)
def test_an_outcome_that_breaks_the_schema_is_the_handlers_error(changed: dict[str, object]) -> None:
    with pytest.raises(HandlerError, match="cannot be read") as raised:
        parse_outcome(outcome(**changed))
    assert (raised.value.reason, raised.value.retry) == ("handler-error", True)


def test_what_a_template_says_is_checked_too() -> None:
    assert parse_ready(b"{}") == TemplateReady()
    assert parse_end(b'{"code": -9, "cpu_seconds": 0.5, "peak_bytes": 5}') == JobEnd(-9, 0.5, 5)
    for broken in (b'{"code": "0", "cpu_seconds": 0.5, "peak_bytes": 5}', b"{}"):
        with pytest.raises(ValidationError):
            parse_end(broken)
