"""Finds and removes orphaned outputs, leftover outputs, and staged outputs that were never published.

Only an output with a fencing token in its metadata is Yurt's. Other objects are never removed, nor taken as evidence.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from webhook.config import Pipeline
from webhook.events import ContentVersion, EventKind, ListedObject, ObjectEvent, mark_of
from webhook.ledger.sweeps import KnownOutputs, PageResult, Sweep, SweepCounts, Sweeps
from webhook.outputs import keys
from webhook.outputs.removal import Remover
from webhook.storage import ObjectHead
from webhook.sweep.listing import SOURCE, checked

if TYPE_CHECKING:
    from webhook.sweep.listing import ListingStore

_AT_ONCE = 8
PROBE_AGE = timedelta(hours=1)
"""A probe older than this was left behind by a process that was killed: no test of the store takes so long."""


@dataclass(slots=True)
class _InputOutputs:
    """Outputs of one input on one page of the listing."""

    names: dict[str, str] = field(default_factory=dict)
    """Output name to ETag."""
    staged: set[int] = field(default_factory=set)
    """Tokens under which outputs were staged."""
    sample_key: str = ""
    """Key of one of the outputs."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Finding about one input's outputs: events to record, and outputs removed."""

    events: tuple[ObjectEvent, ...] = ()
    orphaned: int = 0
    removed: int = 0


_NOTHING = _Verdict()


class OrphanedOutputs:
    """Sweeps pages of output locations."""

    def __init__(
        self, sweeps: Sweeps, store: ListingStore, pipelines: Iterable[Pipeline], remover: Remover | None, *, page: int
    ) -> None:
        self._sweeps = sweeps
        self._store = store
        self._pipelines = tuple(pipelines)
        self._remover = remover
        self._page = page
        self._semaphore = asyncio.Semaphore(_AT_ONCE)

    async def page(self, sweep: Sweep, pipeline: Pipeline) -> PageResult:
        """Sweep the next page of a pipeline's output location. Raises StoreError."""
        if sum(other.output.overlaps(pipeline.output) for other in self._pipelines) > 1:
            # The key alone does not show which of the pipelines an output belongs to.
            return PageResult("outputs", sweep.cursor, True, SweepCounts())
        prefix = pipeline.output.prefix + sweep.order.prefix
        page = await self._store.list_page(pipeline.output.bucket, prefix, after=sweep.cursor, most=self._page)
        objects = checked(page, prefix, sweep.cursor)
        results = _grouped(pipeline, {item.key: item.etag for item in objects})
        known = await self._sweeps.known(sweep, list(results))
        verdicts = await asyncio.gather(
            *(self._verdict(sweep, pipeline, key, outputs, known.get(key)) for key, outputs in results.items())
        )
        probes = await self._discard_probes(sweep, pipeline, objects)
        events = [event for verdict in verdicts for event in verdict.events]
        orphaned = sum(verdict.orphaned for verdict in verdicts)
        return PageResult(
            stage="outputs",
            cursor=objects[-1].key if objects else sweep.cursor,
            finished=not page.more,
            counts=SweepCounts(
                found=len(events) - orphaned,
                orphaned=orphaned,
                removed=probes + sum(verdict.removed for verdict in verdicts),
            ),
            events=events,
            invalidated=[event.key for event in events if event.kind is EventKind.CREATED],
        )

    async def _verdict(
        self, sweep: Sweep, pipeline: Pipeline, key: str, results: _InputOutputs, known: KnownOutputs | None
    ) -> _Verdict:
        if known is None or known.state == "gone":
            return await self._without_input(sweep, pipeline, key, results)
        if not known.settled:
            return _NOTHING
        if await self._differs(pipeline, key, results, known):
            event = _event(sweep, pipeline, key, EventKind.CREATED)
            return _Verdict(events=(event,))
        return _Verdict(removed=await self._remove(sweep, pipeline, key, results, known))

    async def _without_input(self, sweep: Sweep, pipeline: Pipeline, key: str, results: _InputOutputs) -> _Verdict:
        if pipeline.on_delete == "keep":
            return _NOTHING
        head = await self._head(pipeline.output.bucket, results.sample_key)
        if head is None or not keys.token_of(head.metadata):
            return _NOTHING
        if await self._head(pipeline.input.bucket, key):
            # Uploaded since, or found by this sweep and not recorded, since it is a dry run.
            return _NOTHING
        return _Verdict(events=(_event(sweep, pipeline, key, EventKind.REMOVED),), orphaned=1)

    async def _differs(self, pipeline: Pipeline, key: str, results: _InputOutputs, known: KnownOutputs) -> bool:
        """Whether an output under a name of the last result is missing or another result's."""
        for name, etag in results.names.items():
            recorded = known.published.get(name)
            if recorded is None or recorded == etag:
                continue
            head = await self._head(pipeline.output.bucket, keys.output_key(pipeline, key, name))
            # Token 0: a person or another program wrote it. The result's own token: the listing lags.
            if head and head.etag != recorded and keys.token_of(head.metadata) not in (0, known.token):
                return True
        for name in known.published:
            # A page may end among an input's outputs, so an output that it does not list may be there.
            if name in results.names:
                continue
            if await self._head(pipeline.output.bucket, keys.output_key(pipeline, key, name)) is None:
                return True  # removed by a DELETE request that the store carried out late
        return False

    async def _remove(
        self, sweep: Sweep, pipeline: Pipeline, key: str, results: _InputOutputs, known: KnownOutputs
    ) -> int:
        """Remove outputs that the last result does not have. Returns their number."""
        leftovers: dict[str, str] = {}
        for name, etag in results.names.items() if known.published else ():
            if name not in known.published:
                head = await self._head(pipeline.output.bucket, keys.output_key(pipeline, key, name))
                # Not under a later token: that lease may be publishing this output just now.
                if head and head.etag == etag and 0 < keys.token_of(head.metadata) <= known.token:
                    leftovers[name] = etag
        staged = {token for token in results.staged if token <= known.token}
        if self._remover is None or sweep.order.dry_run:
            return len(leftovers) + len(staged)
        if leftovers:
            await self._remover.remove_leftovers(pipeline, key, leftovers, known.token)
        below = await self._remover.remove_staged(pipeline, key, known.token + 1) if staged else 0
        return len(leftovers) + below

    async def _discard_probes(self, sweep: Sweep, pipeline: Pipeline, objects: Sequence[ListedObject]) -> int:
        """Remove old probes, by which a process tested the store's conditions. Returns their number."""
        left = [
            item
            for item in objects
            if keys.is_probe(pipeline.output, item.key) and item.modified < sweep.moment - PROBE_AGE
        ]
        if self._remover and not sweep.order.dry_run:
            for item in left:
                await self._remover.discard(pipeline, item.key, item.etag)
        return len(left)

    async def _head(self, bucket: str, key: str) -> ObjectHead | None:
        async with self._semaphore:
            return await self._store.head(bucket, key)


def _grouped(pipeline: Pipeline, objects: Mapping[str, str]) -> dict[str, _InputOutputs]:
    """Group listed outputs (key to ETag) by the key of their input."""
    grouped: dict[str, _InputOutputs] = defaultdict(_InputOutputs)
    for full, etag in objects.items():
        output = keys.parse(pipeline, full)
        if output is None or not pipeline.watches(pipeline.input.bucket, output.input_key):
            continue
        results = grouped[output.input_key]
        results.sample_key = results.sample_key or full
        if output.token:
            results.staged.add(output.token)
        elif not keys.is_reserved(output.name):
            results.names[output.name] = etag
    return grouped


def _event(sweep: Sweep, pipeline: Pipeline, key: str, kind: EventKind) -> ObjectEvent:
    mark = mark_of(SOURCE, sweep.id, key, "output", kind)
    return ObjectEvent(SOURCE, pipeline.input.bucket, key, kind, ContentVersion(), None, mark)
