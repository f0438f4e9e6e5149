"""Which exception is whose fault."""

from __future__ import annotations

import errno
import os

import pytest

from tests.workers.sandbox.jobs import REQUEST
from workers.handlers import HandlerError
from workers.sandbox.child.classify import classify
from workers.sandbox.messages import HandlerFailed, MachineFault

REFUSAL = HandlerError("unreadable", "The picture is damaged.")


def system_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def raised_from(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        system_error(errno.ENOSPC),
        system_error(errno.EDQUOT),
        raised_from(HandlerError("unreadable", "The picture is damaged."), system_error(errno.ENOSPC)),
        RuntimeError("unable to call webpsave\n  unix error: No space left on device\n"),
    ],
)
def test_a_full_disk_is_the_machines_fault(error: BaseException) -> None:
    outcome = classify(error, REQUEST)
    assert isinstance(outcome, MachineFault)
    assert "disk is full" in outcome.message


@pytest.mark.parametrize(
    ("error", "reason", "retry", "intended"),
    [
        (MemoryError(), "memory-limit", False, False),
        (RuntimeError("webpsave: failed to allocate 5760000 bytes"), "memory-limit", False, False),
        (RuntimeError("vips_tracked: out of memory --- size == 36MB"), "memory-limit", False, False),
        (RuntimeError("glib: Error creating thread: Resource temporarily unavailable"), "memory-limit", True, False),
        (RuntimeError("can't start new thread"), "memory-limit", True, False),
        (system_error(errno.EFBIG), "output-too-large", False, False),
        (REFUSAL, "unreadable", False, True),
        (HandlerError("busy", "Later.", retry=True), "busy", True, True),
        (SystemExit(0), "handler-error", True, False),
        (ValueError("no idea"), "handler-error", True, False),
    ],
)
def test_what_an_exception_means(error: BaseException, reason: str, retry: bool, intended: bool) -> None:
    outcome = classify(error, REQUEST)
    assert isinstance(outcome, HandlerFailed)
    assert (outcome.reason, outcome.retry, outcome.intended) == (reason, retry, intended)


def test_a_handler_error_that_mentions_memory_is_the_handlers_own() -> None:
    outcome = classify(HandlerError("too-large", "The decoder ran out of memory."), REQUEST)
    assert isinstance(outcome, HandlerFailed)
    assert outcome.reason == "too-large"


def test_a_chain_without_end_is_bounded() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert isinstance(classify(first, REQUEST), HandlerFailed)
