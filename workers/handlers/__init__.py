"""The interface of handlers: each is called with a ``Job`` and returns a ``Result``, or raises ``HandlerError``.

::

    from workers.handlers import HandlerError, Job, OutputFile, Result

    def count_lines(job: Job) -> Result:
        lines = job.input.read_text().count("\\n")
        if lines > 1_000_000:
            raise HandlerError("too-large", f"The file has {lines:,} lines: split it.")
        (job.output / "lines.txt").write_text(str(lines))
        return Result(outputs=(OutputFile("lines.txt", "text/plain"),), labels={"lines": lines})

Each file is handled in a process of its own, within the pipeline's limits on time, memory and outputs; the module is
imported before, once for many files where it starts no threads and opens nothing. A handler may be called
again with the same content (after a failure, a crash or a lost lease), so it should do nothing outside ``job.output``
that must happen only once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # an agent starts its first process before it loads pydantic
    from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Job:
    """One input file to handle."""

    input: Path
    """The downloaded file, to be read only. Its name is always the same: the object's own is in ``key``."""
    output: Path
    """An empty folder of this job alone, for the outputs. Removed with all in it when the job has ended."""
    key: str
    """The object's key in its bucket (``uploads/2026/cat.jpg``)."""
    etag: str
    """The ETag of the content, without quotes."""
    options: Mapping[str, JsonValue]
    """The options that the pipeline's definition gives this handler."""
    url: str = ""
    """With a slash at its end: where a server on this machine reads ``input`` and puts ``output/NAME``. Only for the
    handler ``http``."""
    models: Mapping[str, Path] = field(default_factory=dict)
    """The folder of each model that the pipeline names, to be read only: map its files into memory, copy nothing."""
    imports: tuple[Path, ...] = ()
    """Folders that Python imports from before all others: a bundle's code, and what it requires. Only for the handler
    ``function``."""
    model_roots: Mapping[str, str] = field(default_factory=dict)
    """The root of each model, which names its version. Empty where the folders were never published (``yurt try``)."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file in the job's output folder, to be published under its name."""

    name: str
    """Up to 200 letters, digits, ``.``, ``_`` and ``-``, beginning with a letter or digit; not ``result.json``.

    The file lies directly in ``Job.output``. Folders, links and devices are refused.
    """
    content_type: str
    """The ``Content-Type`` that the output is served with, in lower case (``image/webp``)."""
    cache_control: str = ""
    """The ``Cache-Control`` that it is served with; none if empty. A new result of the object keeps the names."""


@dataclass(frozen=True, slots=True)
class Result:
    """The outputs and labels that a handler has made of one file."""

    outputs: tuple[OutputFile, ...]
    """The files to publish, at most 64. Other files in the folder are left out. May be empty."""
    labels: Mapping[str, JsonValue] = field(default_factory=dict)
    """Small facts about the input, for the manifest: at most 64 KiB as JSON."""


class HandlerUnavailable(Exception):
    """A handler cannot run on this worker at all, whichever the input: its module or program is missing or broken.

    The message says what is wrong and what to do. No object is to blame: none is charged an attempt.
    """


class HandlerError(Exception):
    """Raised by a handler for an input that it cannot handle.

    Unless ``retry`` is set, the object is parked with this reason and message. Any other exception counts as a fault of
    the handler: the object is tried again, in a new child process.
    """

    def __init__(self, reason: str, message: str, *, retry: bool = False, log: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        """A short code to group failures by: 1 to 64 of lower-case letters, digits and hyphens."""
        self.message = message
        """A sentence for the user who uploaded the file: what is wrong, and what to do. Cut at 4,000 characters."""
        self.retry = retry
        """Whether another attempt with the same content can help."""
        self.log = log
        """The end of what the handler printed, with its traceback. Set by the sandbox, not by handlers."""
