"""Loops outlive what may pass, and it is known which of them fail."""

from __future__ import annotations

import errno
import os

import pytest

from webhook.ledger.database import LedgerUnavailable, LedgerUnusable
from webhook.loops import LoopHealth


class Clock:
    """Moved by the test."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    "error",
    [
        LedgerUnavailable("away"),
        TimeoutError(),
        *(OSError(number, os.strerror(number)) for number in (errno.EMFILE, errno.ENOSPC, errno.EACCES, errno.EAGAIN)),
    ],
)
def test_what_may_pass_is_noted_until_a_turn_succeeds(error: Exception) -> None:
    clock = Clock()
    health = LoopHealth(clock)
    for _ in range(2):
        with health.turn("sweeps", 60):
            _fail(error)
        clock.seconds += 40
    [failing] = health.failing()
    assert (failing.loop, failing.seconds) == ("sweeps", 80)
    assert failing.error
    assert [stalled.loop for stalled in health.stalled()] == ["sweeps"]
    with health.turn("sweeps", 60):
        pass
    assert (health.failing(), health.stalled()) == ([], [])


def _fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError("a bug"), LedgerUnusable("no schema")])
def test_what_does_not_pass_is_raised(error: Exception) -> None:
    health = LoopHealth()
    with pytest.raises(type(error)), health.turn("sweeps"):
        raise error
    assert not health.failing()


def test_a_turn_that_does_not_end_is_stalled() -> None:
    clock = Clock()
    health = LoopHealth(clock)
    with health.turn("sweeps", 60), health.turn("retention"):
        clock.seconds += 61
        assert [stalled.loop for stalled in health.stalled()] == ["sweeps"]
    assert not health.stalled()
