"""Errors of functions and of their calls."""

from __future__ import annotations


class YurtError(Exception):
    """Base of all errors of this package. The message says what to do."""


class DefinitionError(YurtError, ValueError):
    """A function is defined in a way that cannot work."""


class NotReachable(YurtError):
    """The control plane or the bucket did not answer, or refused."""


class CallTimeout(YurtError, TimeoutError):
    """A call has not ended in the time that the caller gave it. It goes on, and can be waited for by its key."""


class RemoteError(YurtError):
    """A call has failed on its worker."""

    def __init__(self, function: str, reason: str, message: str, traceback: str) -> None:
        super().__init__(message)
        self.function = function
        """Name of the function."""
        self.reason = reason
        """A short code: ``function-error`` where it has raised an exception, else a reason of parked objects."""
        self.message = message
        """What happened, in a sentence."""
        self.traceback = traceback
        """The end of what it printed, with the traceback on the worker; empty where there is none."""

    def __str__(self) -> str:
        remote = f"\n\nOn the worker:\n{self.traceback.rstrip()}" if self.traceback else ""
        return f"{self.function}: {self.message}{remote}"
