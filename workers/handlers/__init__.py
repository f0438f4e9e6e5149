"""What a handler is given and what it gives back. It runs in a child process with limits of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Job:
    """One input file to handle."""

    input: Path
    """The downloaded content. Read only."""
    output: Path
    """An empty folder for the outputs."""
    key: str
    """The object's key; its last part is the name that a person gave the file."""
    etag: str
    options: Mapping[str, JsonValue]
    """The pipeline's options for this handler."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file in the job's output folder, to be published under its name."""

    name: str
    content_type: str
    cache_control: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What a handler made."""

    outputs: tuple[OutputFile, ...]
    labels: Mapping[str, JsonValue] = field(default_factory=dict)
    """Small facts that go into the manifest."""


class HandlerError(Exception):
    """The input cannot be handled. Raised by handlers, with a sentence for the person who uploaded the file.

    Any other exception of a handler is a fault of the handler and is retried.
    """

    def __init__(self, reason: str, message: str, *, retry: bool = False, log: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        """A short code to group by: lower case, digits and hyphens."""
        self.message = message
        self.retry = retry
        """Whether another attempt can help."""
        self.log = log
        """The end of what the handler printed, with its traceback. Set by the sandbox, not by handlers."""
