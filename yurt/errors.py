"""Errors of this package.

::

    YurtError
    ├── DefinitionError        a function cannot work as it is defined
    ├── RemoteError            a call has failed on its worker
    ├── CallTimeout            a call has not ended in time
    ├── WaitTimeout            an object was not settled in time
    ├── OutputMissing          a result has no file of that name
    ├── InvalidCallback        a callback is not from your control plane
    └── NotReachable           the control plane or the bucket did not answer
        ├── Refused            it has answered, with a refusal
        │   ├── ObjectUnknown  no event of the object has come yet
        │   └── KeyTaken       an object of that key is there
        └── UploadInterrupted  an upload in parts that can be resumed
"""

from __future__ import annotations


class YurtError(Exception):
    """Base of all errors of this package. The message says what to do."""


class DefinitionError(YurtError, ValueError):
    """A function is defined in a way that cannot work."""


class NotReachable(YurtError):
    """The control plane or the bucket did not answer, or refused."""


class Refused(NotReachable):
    """The control plane or the bucket has answered with a refusal, which a repetition would not change."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP."""
        self.code = code
        """For programs: ``scope-missing``, ``unknown-object``; of the bucket, its own (``AccessDenied``)."""


class ObjectUnknown(Refused):
    """The ledger knows no such object: no event of it has come yet, or it was forgotten long ago."""


class KeyTaken(Refused):
    """An object of that key is there, and was not replaced."""


class UploadInterrupted(NotReachable):
    """An upload in parts has not ended. What has arrived is kept, and it can be resumed."""

    def __init__(self, message: str, upload_id: int) -> None:
        super().__init__(message)
        self.upload_id = upload_id
        """For ``resume``."""


class InvalidCallback(YurtError, ValueError):
    """A callback is not from your control plane, or is too old. Answer it with 400."""


class OutputMissing(YurtError, LookupError):
    """An object has no result, or its result no file of that name."""


class WaitTimeout(YurtError, TimeoutError):
    """An object was not settled in the time that the caller gave it. It is worked on all the same."""


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
