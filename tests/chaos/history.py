"""Writes of one key and the results observed for it, checked for results that go back to older content."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from tests.chaos.content import UploadContent

Kind = Literal["new", "overwrite", "same", "back", "delete", "again"]
"""``same``: the same bytes once more. ``back``: the previous content. ``again``: a write after a delete."""

_OBSERVATIONS = 200
"""Observed changes that are kept of each key, for the report."""


@dataclass(slots=True)
class RecordedWrite:
    """One change of an object, recorded before it is made."""

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
        """ETag of the object after the write; None after a delete."""
        return self.content.etag if self.content else None


@dataclass(frozen=True, slots=True)
class Observation:
    """The published result at one moment."""

    at: float
    etag: str | None
    token: int | None
    fault: str


@dataclass(slots=True)
class History:
    """History of one key. Writes are sequential: each begins when the bucket has answered the one before."""

    key: str
    writes: list[RecordedWrite] = field(default_factory=list)
    observations: deque[Observation] = field(default_factory=lambda: deque(maxlen=_OBSERVATIONS))
    _position: int = -1
    """Index of the earliest write that explains all observations so far; -1: before the first write."""
    _token: int = 0

    @property
    def newest(self) -> RecordedWrite | None:
        """The last write, which may still be in progress."""
        return self.writes[-1] if self.writes else None

    @property
    def live(self) -> bool:
        """Whether the object exists after the last write."""
        return bool(self.writes and self.writes[-1].content)

    @property
    def reached(self) -> bool:
        """Whether the result of the newest content was observed."""
        return self._position == len(self.writes) - 1

    def observe(self, at: float, etag: str | None) -> str:
        """Record the ETag of the published copy (None: no copy). Returns a sentence if it is a violation, else "".

        The same content may have been written several times. Observations are consistent if they can be matched to
        writes in order, never going back. Matching each to the earliest possible write leaves most for later ones.
        """
        return self._note(at, etag, None, self._step(etag))

    def observe_token(self, at: float, token: int) -> str:
        """Record the fencing token of the published manifest, which only grows. Returns a violation, or ""."""
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
            return f"{etag} is published, but was never written"
        before, self._position = self._position, earlier
        return f"{self._describe(earlier)} is published again after {self._describe(before)}"

    def _find(self, etag: str | None, first: int) -> int | None:
        if first == -1 and etag is None:
            return -1
        return next((i for i in range(max(first, 0), len(self.writes)) if self.writes[i].etag == etag), None)

    def _describe(self, position: int) -> str:
        if position < 0:
            return "nothing"
        content = self.writes[position].content
        return f"content {content.number} (write {position})" if content else f"nothing (write {position})"

    def _note(self, at: float, etag: str | None, token: int | None, fault: str) -> str:
        last = next((s for s in reversed(self.observations) if (s.token is None) == (token is None)), None)
        if fault or last is None or (last.etag, last.token) != (etag, token):
            self.observations.append(Observation(at, etag, token, fault))
        return fault
