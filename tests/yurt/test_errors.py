"""Errors carry what a caller needs."""

from __future__ import annotations

from yurt import CallTimeout, RemoteError, YurtError


def test_an_error_shows_the_traceback_of_the_worker() -> None:
    error = RemoteError("caption", "function-error", "ValueError: no", "Traceback …\nValueError: no\n")
    assert str(error) == "caption: ValueError: no\n\nOn the worker:\nTraceback …\nValueError: no"
    assert str(RemoteError("caption", "lost", "Gone.", "")) == "caption: Gone."
    assert isinstance(error, YurtError)
    assert issubclass(CallTimeout, TimeoutError)
