"""What was written under one key, in order, and what was seen published of it: never something older than before."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from tests.chaos.content import UploadContent

Kind = Literal["new", "overwrite", "same", "back", "delete", "again"]
"""``same``: the same bytes once more. ``back``: the content before this one. ``again``: after a delete."""

_SIGHTINGS = 200
"""Changes of what was published that are kept of one key, to be read by a person."""


@dataclass(slots=True)
class RecordedWrite:
    """One change of an object, noted before it is made."""

    at: float
    """Unix time."""
    kind: Kind
    content: UploadContent | None
    """None: deleted."""
    region: str = ""
    done_at: float = 0.0
    """When the bucket had answered; 0 until then."""

    @property
    def etag(self) -> str | None:
        """Of the object afterwards."""
        return self.content.etag if self.content else None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was published at some moment."""

    at: float
    etag: str | None
    token: int | None
    fault: str


@dataclass(slots=True)
class History:
    """One key's. Its writes follow each other: the next is begun when the bucket has answered the last."""

    key: str
    writes: list[RecordedWrite] = field(default_factory=list)
    sightings: deque[Sighting] = field(default_factory=lambda: deque(maxlen=_SIGHTINGS))
    _position: int = -1
    """The earliest write that what was seen so far allows; -1: nothing was written yet."""
    _token: int = 0

    @property
    def newest(self) -> RecordedWrite | None:
        """What the object is now, or is just becoming."""
        return self.writes[-1] if self.writes else None

    @property
    def live(self) -> bool:
        """Whether the object is there, as far as was written."""
        return bool(self.writes and self.writes[-1].content)

    @property
    def reached(self) -> bool:
        """Whether the newest content was seen published."""
        return self._position == len(self.writes) - 1

    def saw(self, at: float, etag: str | None) -> str:
        """Note the ETag of the published copy, None where there is none. Returns what is wrong with it, or "".

        The same content may have been written several times: what was seen is right if some walk through the writes,
        never backwards, meets it all. The walk that takes the earliest write each time leaves most for later.
        """
        return self._note(at, etag, None, self._step(etag))

    def saw_token(self, at: float, token: int) -> str:
        """Note the fencing token of the published manifest: it only ever grows. Returns what is wrong, or ""."""
        fault = f"token {token} published after {self._token}" if token < self._token else ""
        self._token = max(token, self._token)
        return self._note(at, None, token, fault)

    def _step(self, etag: str | None) -> str:
        later = self._find(etag, max(self._position, -1))
        if later is not None:
            self._position = later
            return ""
        earlier = self._find(etag, -1)
        if earlier is None:
            return f"{etag} is published, which nobody wrote"
        before, self._position = self._position, earlier
        return f"{self._said(earlier)} is published again after {self._said(before)}"

    def _find(self, etag: str | None, first: int) -> int | None:
        if first == -1 and etag is None:
            return -1
        return next((i for i in range(max(first, 0), len(self.writes)) if self.writes[i].etag == etag), None)

    def _said(self, position: int) -> str:
        if position < 0:
            return "nothing"
        content = self.writes[position].content
        return f"content {content.number} (write {position})" if content else f"nothing (write {position})"

    def _note(self, at: float, etag: str | None, token: int | None, fault: str) -> str:
        last = next((s for s in reversed(self.sightings) if (s.token is None) == (token is None)), None)
        if fault or last is None or (last.etag, last.token) != (etag, token):
            self.sightings.append(Sighting(at, etag, token, fault))
        return fault
