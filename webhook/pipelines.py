"""Which pipelines an object concerns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from webhook.config import Pipeline
from webhook.events import EventKind, ObjectEvent
from webhook.ledger.ledger import Intake
from webhook.sources import Batch


class Pipelines:
    """The pipelines of one configuration, by their numbers in the ledger."""

    def __init__(self, pipelines: Mapping[int, tuple[str, Pipeline]]) -> None:
        self.pipelines = pipelines
        self._by_bucket: dict[str, list[tuple[int, Pipeline]]] = {}
        for number, (_, pipeline) in pipelines.items():
            self._by_bucket.setdefault(pipeline.input.bucket, []).append((number, pipeline))

    @property
    def all(self) -> Sequence[Pipeline]:
        """Every pipeline."""
        return [pipeline for _, pipeline in self.pipelines.values()]

    def name_of(self, number: int) -> str:
        """A pipeline's name; empty for one that is not configured any more."""
        return self.pipelines[number][0] if number in self.pipelines else ""

    def of_pool(self, pool: str) -> Sequence[int]:
        """Numbers of the pipelines that run on a pool."""
        return [number for number, (_, pipeline) in self.pipelines.items() if pipeline.pool == pool]

    def intake(self, batch: Batch) -> Intake:
        """What a batch brings to the ledger: an event once a pipeline that watches its object."""
        hints: list[tuple[int, ObjectEvent]] = []
        ignored: list[int] = []
        for event in batch.events:
            watching = [
                number
                for number, pipeline in self._by_bucket.get(event.bucket, ())
                if pipeline.watches(event.bucket, event.key)
            ]
            if event.kind is EventKind.IRRELEVANT:
                ignored += watching or [0]
            elif watching:
                hints += [(number, event) for number in watching]
            else:
                ignored.append(0)
        return Intake(hints, tuple(ignored), batch.quarantined)
