"""Before the ledger: at most one hint a pipeline and key, and every event counted once.

Several events of one object in one flush are folded into one hint. What their order proves is used; what cannot be
ordered is merged into a hint that claims no more than both.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from webhook.events import ObjectEvent, merge

ObjectPlace = tuple[int, str]
"""Pipeline number and key."""


class Verdict(enum.StrEnum):
    """What became of one event. Every event received is counted as exactly one of these."""

    ACCEPTED = "accepted"
    """A new change: the object is worked, or asked about, for it."""
    COALESCED = "coalesced"
    """Joined a change of the same object that already waits."""
    DUPLICATE = "duplicate"
    """The very delivery heard last."""
    STALE = "stale"
    """Its source's own order proves it older than what is known."""
    IGNORED = "ignored"
    """No pipeline watches the object, or the content did not change."""
    QUARANTINED = "quarantined"
    """Could not be read."""


class Hint:
    """One object's events of one flush, folded. ``event`` goes to the ledger; its verdict is still to come."""

    __slots__ = ("event", "settled", "waiting")

    def __init__(self, event: ObjectEvent, request: int) -> None:
        self.event = event
        self.waiting = [request]
        """Requests whose events share the ledger's verdict, the first as it is, the others as having joined it."""
        self.settled: list[tuple[int, Verdict]] = []

    def join(self, event: ObjectEvent, request: int) -> None:
        """Fold in another event of the same object."""
        if event.mark == self.event.mark:
            self.settled.append((request, Verdict.DUPLICATE))
        elif event.version.is_older_than(self.event.version):
            self.settled.append((request, Verdict.STALE))
        elif self.event.version.is_older_than(event.version):
            self.settled += [(other, Verdict.STALE) for other in self.waiting]
            self.event, self.waiting = event, [request]
        else:
            self.event = merge(self.event, event)
            self.waiting.append(request)

    def verdicts(self, verdict: Verdict) -> Iterable[tuple[int, Verdict]]:
        """Request and verdict of every event folded in, given the ledger's verdict on the hint."""
        yield from self.settled
        first, *others = self.waiting
        yield first, verdict
        joined = Verdict.COALESCED if verdict is Verdict.ACCEPTED else verdict
        for request in others:
            yield request, joined


Hints = Sequence[tuple[int, ObjectEvent]]
"""Events of one request, each with the number of a pipeline that watches its object."""


def fold(requests: Iterable[Hints]) -> list[tuple[ObjectPlace, Hint]]:
    """One hint a place, in the order in which the ledger locks rows."""
    hints: dict[ObjectPlace, Hint] = {}
    for request, events in enumerate(requests):
        for pipeline_id, event in events:
            place = (pipeline_id, event.key)
            known = hints.get(place)
            if known is None:
                hints[place] = Hint(event, request)
            else:
                known.join(event, request)
    return sorted(hints.items(), key=lambda item: (item[0][0], item[0][1].encode()))


@dataclass(slots=True)
class CounterIncrements:
    """Counters of one transaction, by pipeline number and name."""

    by_pipeline: Counter[tuple[int, str]] = field(default_factory=Counter)

    def add(self, pipeline_id: int, name: str, value: int = 1) -> None:
        """Count."""
        self.by_pipeline[pipeline_id, name] += value

    def columns(self) -> tuple[list[int], list[str], list[int]]:
        """Pipelines, names and values, in one order for all transactions."""
        rows = sorted((place, value) for place, value in self.by_pipeline.items() if value)
        return [p for (p, _), _ in rows], [n for (_, n), _ in rows], [value for _, value in rows]
