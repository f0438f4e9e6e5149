"""What an app is told: objects, results, tickets, uploads and events, as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from yurt.errors import OutputMissing

ObjectStateText = Literal["pending", "leased", "done", "parked", "gone", "forgotten"]
SettledStateText = Literal["done", "parked", "gone"]
Outcome = Literal["done", "refused", "parked", "gone", "forgotten"]
"""What became of an object. ``refused``: there is a result, and a check's verdict is that it is not to be shown."""
_SETTLED: Mapping[str, Outcome] = {"done": "done", "parked": "parked", "gone": "gone", "forgotten": "forgotten"}


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """One file of a result."""

    name: str
    """Such as ``thumb-640.webp``."""
    url: str = field(repr=False)
    """A GET that is good for an hour, or with ``public_url`` of the pipeline one that does not change."""
    etag: str
    size: int | None = None
    """Bytes; None in lists."""
    content_type: str | None = None
    """None in lists."""


@dataclass(frozen=True, slots=True)
class ResultInfo:
    """The result that is there. While newer content is worked on, it is that of the earlier content."""

    etag: str
    """Of the content that it was made from."""
    modified: datetime | None
    """When that content was uploaded."""
    finished_at: datetime | None
    files: tuple[OutputInfo, ...]
    verdict: str | None = None
    """Of the checks: ``ok``, ``review`` or ``refused``. None in lists, and where no check gives one."""
    labels: Mapping[str, Any] | None = None
    """None in lists."""

    def file(self, name: str) -> OutputInfo:
        """Return the file of a name. Raises `yurt.OutputMissing`, which names those that are there."""
        for file in self.files:
            if file.name == name:
                return file
        there = ", ".join(file.name for file in self.files)
        raise OutputMissing(f"{name!r} is not in the result: it has {there or 'no files'}.")


@dataclass(frozen=True, slots=True)
class ProgressInfo:
    """How far an object is that is not settled."""

    phase: Literal["queued", "retrying", "working", "checking"]
    """``checking``: whether it was deleted."""
    attempt: int
    """1 for the first."""
    retry_in_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """Why an object is parked."""

    reason: str
    """A code."""
    message: str
    """A sentence for the person who uploaded it."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object, as an app sees it."""

    pipeline: str
    key: str
    state: ObjectStateText
    version: str
    """Another one whenever something of it has changed."""
    updated_at: datetime
    """The last event or result."""
    size: int | None
    """Bytes, by the last event."""
    progress: ProgressInfo | None
    """None: it is settled."""
    result: ResultInfo | None
    error: ErrorInfo | None
    """None unless it is parked."""

    @property
    def outcome(self) -> Outcome | None:
        """What became of it; None: it is worked on."""
        if self.state == "done" and self.result is not None and self.result.verdict == "refused":
            return "refused"
        return _SETTLED.get(self.state)


@dataclass(frozen=True, slots=True)
class UploadTicket:
    """A ticket for a browser: it allows so many uploads into one folder until it expires."""

    ticket: str = field(repr=False)
    """The secret that the browser is handed. It is shown this once."""
    pipeline: str
    folder: str
    """All keys of its uploads begin so, and no others."""
    content_types: tuple[str, ...]
    max_bytes: int
    """Of one file."""
    uploads: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that is in the bucket now."""

    pipeline: str
    key: str
    size: int
    content_type: str | None
    """None where the upload was resumed: the first try has named it."""
    etag: str | None
    """Of the content, without quotes; None where the bucket's answer was lost."""


@dataclass(frozen=True, slots=True)
class ObjectSettled:
    """An event: an object has a result, was parked, or is gone."""

    id: int
    """Events after this one: ``last_event_id`` of `Client.events`."""
    pipeline: str
    key: str
    state: SettledStateText
    settled_at: datetime
    changed: bool = True
    """False: the result is the one that was there before."""
    etag: str | None = None
    """Of the content that the result was made from."""
    reason: str | None = None
    """Why it is parked, as a code."""
    message: str | None = None
    """Why it is parked, as a sentence."""


@dataclass(frozen=True, slots=True)
class EventGap:
    """Events before this were missed, and are not known any more: list the objects again."""

    id: int
    """Events after this."""


Event = ObjectSettled | EventGap
