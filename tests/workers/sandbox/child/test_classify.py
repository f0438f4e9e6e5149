"""Which exception is whose fault."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest
import pyvips

from tests.workers.sandbox.jobs import REQUEST
from workers.handlers import HandlerError
from workers.sandbox.child.classify import classify
from workers.sandbox.messages import HandlerFailed

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
        pyvips.Error("unable to call webpsave", "unix error: No space left on device\n"),
    ],
)
def test_a_full_disk_is_worth_another_attempt(error: BaseException) -> None:
    outcome = classify(error, REQUEST)
    assert isinstance(outcome, HandlerFailed)
    assert (outcome.reason, outcome.retry) == ("disk-full", True)


def test_words_that_a_file_may_have_chosen_mean_nothing() -> None:
    outcome = classify(ValueError("invalid literal for int(): 'No space left on device'"), REQUEST)
    assert isinstance(outcome, HandlerFailed)
    assert outcome.reason == "handler-error"


@pytest.mark.parametrize(
    ("error", "reason", "retry"),
    [
        (MemoryError(), "memory-limit", False),
        (RuntimeError("webpsave: failed to allocate 5760000 bytes"), "memory-limit", False),
        (RuntimeError("vips_tracked: out of memory --- size == 36MB"), "memory-limit", False),
        (RuntimeError("glib: Error creating thread: Resource temporarily unavailable"), "memory-limit", True),
        (RuntimeError("can't start new thread"), "memory-limit", True),
        (system_error(errno.EFBIG), "output-too-large", False),
        (REFUSAL, "unreadable", False),
        (HandlerError("busy", "Later.", retry=True), "busy", True),
        (SystemExit(0), "handler-error", True),
        (ValueError("no idea"), "handler-error", True),
    ],
)
def test_what_an_exception_means(error: BaseException, reason: str, retry: bool) -> None:
    outcome = classify(error, REQUEST)
    assert isinstance(outcome, HandlerFailed)
    assert (outcome.reason, outcome.retry) == (reason, retry)


def test_a_handler_error_that_mentions_memory_is_the_handlers_own() -> None:
    outcome = classify(HandlerError("too-large", "The decoder ran out of memory."), REQUEST)
    assert isinstance(outcome, HandlerFailed)
    assert outcome.reason == "too-large"


def test_a_chain_without_end_is_bounded() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert isinstance(classify(first, REQUEST), HandlerFailed)


def refused() -> PermissionError:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/models/a")


@pytest.mark.parametrize("error", [refused(), raised_from(RuntimeError("no model"), refused())])
def test_what_the_sandbox_may_have_refused_names_its_settings(error: BaseException) -> None:
    jailed = classify(error, REQUEST)
    free = classify(error, replace(REQUEST, sandbox=replace(REQUEST.sandbox, mode="off")))
    assert isinstance(jailed, HandlerFailed)
    assert isinstance(free, HandlerFailed)
    assert "sandbox settings" in jailed.message
    assert "sandbox" not in free.message
