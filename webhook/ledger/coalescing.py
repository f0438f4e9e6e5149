"""Coalesces the events of one batch: at most one hint for each object, and exactly one verdict for each event.

Several events of one object in one batch are folded into one hint. Where their order is proven, the newest event
counts; events that cannot be ordered are merged into a hint that claims no more than all of them prove.
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
    """How one event was recorded. Every event received is counted as exactly one of these."""

    ACCEPTED = "accepted"
    """A new change: a worker processes the object, or the control plane checks it."""
    COALESCED = "coalesced"
    """Joined a change of the same object that is pending already."""
    DUPLICATE = "duplicate"
    """Repeats the event recorded last for this object: it has the same mark."""
    STALE = "stale"
    """Proven older than the newest version known."""
    IGNORED = "ignored"
    """No pipeline watches the object, or the content did not change."""
    QUARANTINED = "quarantined"
    """Could not be parsed."""


class Hint:
    """Events of one object in one batch, folded into one: ``event`` is recorded, and its verdict holds for all."""

    __slots__ = ("event", "settled", "waiting")

    def __init__(self, event: ObjectEvent, request: int) -> None:
        self.event = event
        self.waiting = [request]
        """Requests whose events share the ledger's verdict: the first gets it as it is, the others as coalesced."""
        self.settled: list[tuple[int, Verdict]] = []

    def join(self, event: ObjectEvent, request: int) -> None:
        """Fold another event of the same object into this hint."""
        # Duplicates and stale events are recognised by the rules of the statement ``record``, so that it makes no
        # difference to the object whether two events share a batch.
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
        """Return request and verdict of every folded event, given the ledger's verdict on the hint."""
        yield from self.settled
        first, *others = self.waiting
        yield first, verdict
        # An accepted hint is one new change, whatever number of events it has; a dropped one drops all of them.
        joined = Verdict.COALESCED if verdict is Verdict.ACCEPTED else verdict
        for request in others:
            yield request, joined


Hints = Sequence[tuple[int, ObjectEvent]]
"""Events of one request, each with the number of a pipeline that watches the object."""


def fold(requests: Iterable[Hints]) -> list[tuple[ObjectPlace, Hint]]:
    """Fold the events of several requests into one hint for each pipeline and key."""
    hints: dict[ObjectPlace, Hint] = {}
    for request, events in enumerate(requests):
        for pipeline_id, event in events:
            place = (pipeline_id, event.key)
            known = hints.get(place)
            if known is None:
                hints[place] = Hint(event, request)
            else:
                known.join(event, request)
    # The order in which every transaction locks rows, so that no two wait for each other. Bytes, as in collation "C".
    return sorted(hints.items(), key=lambda item: (item[0][0], item[0][1].encode()))


@dataclass(slots=True)
class CounterIncrements:
    """Increments of counters that one transaction makes, by pipeline number and counter name."""

    by_pipeline: Counter[tuple[int, str]] = field(default_factory=Counter)

    def add(self, pipeline_id: int, name: str, value: int = 1) -> None:
        """Add to one counter."""
        self.by_pipeline[pipeline_id, name] += value

    def columns(self) -> tuple[list[int], list[str], list[int]]:
        """Return pipelines, names and values as columns, in the one order in which counters are locked."""
        rows = sorted((place, value) for place, value in self.by_pipeline.items() if value)
        return [p for (p, _), _ in rows], [n for (_, n), _ in rows], [value for _, value in rows]
