"""The configured pipelines by their numbers in the ledger, and which of them watch an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from webhook.config import Pipeline
from webhook.events import EventKind, ObjectEvent
from webhook.ledger.ledger import ReceivedEvents
from webhook.sources import Batch


class Pipelines:
    """The pipelines of one configuration.

    Args:
        by_id: Name and definition of each pipeline, by its number in the ledger.

    """

    def __init__(self, by_id: Mapping[int, tuple[str, Pipeline]]) -> None:
        self.by_id = by_id
        self._by_bucket: dict[str, list[tuple[int, Pipeline]]] = {}
        for pipeline_id, (_, pipeline) in by_id.items():
            self._by_bucket.setdefault(pipeline.input.bucket, []).append((pipeline_id, pipeline))

    @property
    def all(self) -> Sequence[Pipeline]:
        """Every pipeline."""
        return [pipeline for _, pipeline in self.by_id.values()]

    def name_of(self, pipeline_id: int) -> str:
        """A pipeline's name; empty for one that is not configured any more."""
        return self.by_id[pipeline_id][0] if pipeline_id in self.by_id else ""

    def named(self, name: str) -> Pipeline | None:
        """The pipeline of a name, or None."""
        return next((pipeline for known, pipeline in self.by_id.values() if known == name), None)

    def of_pool(self, pool: str) -> Sequence[int]:
        """Numbers of the pipelines that run on a pool."""
        return [pipeline_id for pipeline_id, (_, pipeline) in self.by_id.items() if pipeline.pool == pool]

    def models_of_pool(self, pool: str) -> Sequence[str]:
        """Names of the models that pipelines of a pool name, each once."""
        named = (model for pipeline_id in self.of_pool(pool) for model in self.by_id[pipeline_id][1].models)
        return list(dict.fromkeys(named))

    def route(self, batch: Batch) -> ReceivedEvents:
        """Turn a request's events into what the ledger records: each event once for every pipeline that watches it."""
        hints: list[tuple[int, ObjectEvent]] = []
        ignored: list[int] = []
        for event in batch.events:
            watching = [
                pipeline_id
                for pipeline_id, pipeline in self._by_bucket.get(event.bucket, ())
                if pipeline.watches(event.bucket, event.key)
            ]
            if event.kind is EventKind.IRRELEVANT:
                ignored += watching or [0]
            elif watching:
                hints += [(pipeline_id, event) for pipeline_id in watching]
            else:
                ignored.append(0)
        return ReceivedEvents(hints, tuple(ignored), batch.quarantined)
