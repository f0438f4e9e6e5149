"""The agent checks what a child sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from tests.workers.sandbox.jobs import JobFolder, failure, python, sandbox
from workers.handlers import HandlerError
from workers.sandbox.messages import ChildReply, ChildState, HandlerFailed
from workers.sandbox.replies import parse_reply, parse_state


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


GOOD: dict[str, Any] = {
    "outcome": {"status": "failed", "reason": "unreadable", "message": "No.", "retry": False, "intended": True},
    "state": {"resident_bytes": 5, "orphans": False},
}


def reply(**outcome: object) -> bytes:
    return json.dumps({**GOOD, "outcome": {**GOOD["outcome"], **outcome}}).encode()


def test_a_valid_reply() -> None:
    assert parse_reply(reply()) == ChildReply(
        HandlerFailed("unreadable", "No.", retry=False, intended=True), ChildState(5, orphans=False)
    )


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
def test_a_reply_that_breaks_the_schema_is_the_handlers_error(changed: dict[str, object]) -> None:
    with pytest.raises(HandlerError, match="cannot be read") as raised:
        parse_reply(reply(**changed))
    assert (raised.value.reason, raised.value.retry) == ("handler-error", True)


def test_a_state_that_breaks_the_schema_is_refused() -> None:
    assert parse_state(b'{"resident_bytes": 5, "orphans": false}') == ChildState(5, orphans=False)
    with pytest.raises(ValidationError):
        parse_state(b'{"resident_bytes": "5", "orphans": false}')
