"""The messages between agent and child, and their framing."""

from __future__ import annotations

import io

import pytest

from tests.workers.sandbox.jobs import REQUEST
from workers.sandbox import messages
from workers.sandbox.messages import (
    HEADER,
    MAX_FRAME_BYTES,
    HandlerDone,
    OutputEntry,
)
from workers.sandbox.replies import parse_outcome


def test_a_request_arrives_as_it_was_sent() -> None:
    stream = io.BytesIO(messages.encode(REQUEST) * 2)
    assert messages.read_request(stream) == REQUEST
    assert messages.read_request(stream) == REQUEST
    assert messages.read_request(stream) is None


@pytest.mark.parametrize("cut", [1, HEADER.size, HEADER.size + 1])
def test_a_pipe_that_ends_within_a_request_is_closed(cut: int) -> None:
    assert messages.read_request(io.BytesIO(messages.encode(REQUEST)[:cut])) is None


def test_an_outcome_arrives_as_it_was_sent() -> None:
    done = HandlerDone([OutputEntry("a.txt", "text/plain", "")], {"width": 3})
    assert parse_outcome(messages.encode(done)[HEADER.size :]) == done


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, "x" * MAX_FRAME_BYTES])
def test_labels_that_are_not_json_or_too_long_are_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        messages.encode(HandlerDone([], {"label": value}))  # type: ignore[dict-item]
