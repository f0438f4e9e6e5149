"""The defined pipelines by their numbers in the ledger, which of them watch an object, and which a lease was given."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from webhook.config import Pipeline
from webhook.events import EventKind, ObjectEvent
from webhook.ledger.ledger import LiveLease, ReceivedEvents
from webhook.sources import Batch

NamedPipeline = tuple[str, Pipeline]
_MOST_EARLIER = 256
"""Earlier definitions that are kept in memory, for leases that were given them."""


async def _none(_definition: int) -> NamedPipeline | None:
    return None


class Pipelines:
    """The pipelines as they are defined now, and those that leases still have.

    Args:
        by_id: Name and settings of each pipeline, by its number in the ledger.
        definitions: Number of the definition that each has now, by its number in the ledger.
        earlier: Finds a pipeline by the number of its definition, also one that holds no more.

    """

    def __init__(
        self,
        by_id: Mapping[int, NamedPipeline],
        definitions: Mapping[int, int] | None = None,
        earlier: Callable[[int], Awaitable[NamedPipeline | None]] = _none,
    ) -> None:
        self._load = earlier
        self._earlier: OrderedDict[int, NamedPipeline] = OrderedDict()
        self.all: list[Pipeline] = []
        """Every pipeline. It stays the same list, whose content changes."""
        self.replace(by_id, definitions or {})

    def replace(self, by_id: Mapping[int, NamedPipeline], definitions: Mapping[int, int]) -> None:
        """Put others in the place of all. Neither mapping may change any more."""
        self.by_id = by_id
        self.definitions = definitions
        self.all[:] = [pipeline for _, pipeline in by_id.values()]
        self._by_bucket: dict[str, list[tuple[int, Pipeline]]] = {}
        for pipeline_id, (_, pipeline) in by_id.items():
            self._by_bucket.setdefault(pipeline.input.bucket, []).append((pipeline_id, pipeline))

    async def of_lease(self, lease: LiveLease) -> NamedPipeline | None:
        """The pipeline as it was when a lease of it was handed out. Raises LedgerUnavailable.

        None: it is not defined any more, and the lease, of an older Yurt, does not say how it was.
        """
        definition = lease.definition
        if definition is None or definition == self.definitions.get(lease.pipeline_id):
            return self.by_id.get(lease.pipeline_id)
        return await self.defined(definition) or self.by_id.get(lease.pipeline_id)

    async def defined(self, definition: int) -> NamedPipeline | None:
        """The pipeline of a definition that may hold no more; None where there is none. Raises LedgerUnavailable."""
        if definition not in self._earlier:
            found = await self._load(definition)
            if found is None:
                return None
            self._earlier[definition] = found
            if len(self._earlier) > _MOST_EARLIER:
                self._earlier.popitem(last=False)
        return self._earlier[definition]

    def name_of(self, pipeline_id: int) -> str:
        """A pipeline's name; empty for one that is not defined any more."""
        return self.by_id[pipeline_id][0] if pipeline_id in self.by_id else ""

    @property
    def names(self) -> list[str]:
        """Names of all pipelines."""
        return [name for name, _ in self.by_id.values()]

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

    def checks_of_pool(self, pool: str) -> Sequence[str]:
        """Names of those among them that checks of photos use, each once."""
        pipelines = (self.by_id[pipeline_id][1] for pipeline_id in self.of_pool(pool))
        checks = [pipeline.options.get("checks") for pipeline in pipelines if pipeline.handler == "photo"]
        return list(dict.fromkeys(str(name) for names in checks if isinstance(names, list) for name in names))

    def route(self, batch: Batch) -> ReceivedEvents:
        """Turn a request's events into what the ledger records: each event once for every pipeline that watches it.

        Not for those that run calls: a call is begun by its caller. What the store tells of its arguments may come when
        it has failed already, and it would run twice.
        """
        hints: list[tuple[int, ObjectEvent]] = []
        ignored: list[int] = []
        for event in batch.events:
            watching = [
                pipeline_id
                for pipeline_id, pipeline in self._by_bucket.get(event.bucket, ())
                if pipeline.watches(event.bucket, event.key) and not _runs_calls(pipeline)
            ]
            if event.kind is EventKind.IRRELEVANT:
                ignored += watching or [0]
            elif watching:
                hints += [(pipeline_id, event) for pipeline_id in watching]
            else:
                ignored.append(0)
        return ReceivedEvents(hints, tuple(ignored), batch.quarantined)


def _runs_calls(pipeline: Pipeline) -> bool:
    return pipeline.handler == "function" and bool(pipeline.options.get("calls"))
