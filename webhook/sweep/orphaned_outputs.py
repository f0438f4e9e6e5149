"""What lies in an output place and belongs to no result: outputs of inputs that are gone, of older results, and what
was put aside and never published.

Only what carries a fencing token is Yurt's. Nothing else is ever touched, nor taken for a reason to touch anything.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from webhook.config import RESERVED_PREFIX, Pipeline
from webhook.events import MAX_KEY_BYTES, ContentVersion, EventKind, ListedObject, ObjectEvent, mark_of
from webhook.ledger.sweeps import Brought, Known, Sweep, Sweeps, Tally
from webhook.outputs.publishing import token_of
from webhook.outputs.removal import Remover
from webhook.storage import ObjectHead
from webhook.sweep.listing import SOURCE, checked

if TYPE_CHECKING:
    from webhook.sweep.listing import Lists

_AT_ONCE = 8
_PROBED = timedelta(hours=1)
"""After which nobody tries the store's conditions on an object any more."""


@dataclass(slots=True)
class _Results:
    """What lies there of one input."""

    names: dict[str, str] = field(default_factory=dict)
    """Output name to ETag."""
    staged: set[int] = field(default_factory=set)
    """Tokens under which something was put aside."""
    some: str = ""
    """A key of them."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is to be done about one input's outputs."""

    events: tuple[ObjectEvent, ...] = ()
    orphaned: int = 0
    removed: int = 0


_NOTHING = _Verdict()


class OrphanedOutputs:
    """Does pages of output places."""

    def __init__(
        self, sweeps: Sweeps, store: Lists, pipelines: Iterable[Pipeline], remover: Remover | None, *, page: int
    ) -> None:
        self._sweeps = sweeps
        self._store = store
        self._pipelines = tuple(pipelines)
        self._remover = remover
        self._page = page
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def page(self, sweep: Sweep, pipeline: Pipeline) -> Brought:
        """The next page. Raises StoreError."""
        if sum(other.output.overlaps(pipeline.output) for other in self._pipelines) > 1:
            # What lies there may be another pipeline's: nobody could tell by the key.
            return Brought("outputs", sweep.cursor, True, Tally())
        prefix = pipeline.output.prefix + sweep.order.prefix
        page = await self._store.list_page(pipeline.output.bucket, prefix, after=sweep.cursor, most=self._page)
        objects = checked(page, prefix, sweep.cursor)
        results = _grouped(pipeline, {item.key: item.etag for item in objects})
        known = await self._sweeps.known(sweep, list(results))
        verdicts = await asyncio.gather(
            *(self._verdict(sweep, pipeline, key, of, known.get(key)) for key, of in results.items())
        )
        probes = await self._discard_probes(sweep, pipeline, objects)
        events = [event for verdict in verdicts for event in verdict.events]
        orphaned = sum(verdict.orphaned for verdict in verdicts)
        return Brought(
            stage="outputs",
            cursor=objects[-1].key if objects else sweep.cursor,
            finished=not page.more,
            tally=Tally(
                found=len(events) - orphaned,
                orphaned=orphaned,
                removed=probes + sum(verdict.removed for verdict in verdicts),
            ),
            events=events,
            void=[event.key for event in events if event.kind is EventKind.CREATED],
        )

    async def _verdict(
        self, sweep: Sweep, pipeline: Pipeline, key: str, results: _Results, known: Known | None
    ) -> _Verdict:
        if known is None or known.state == "gone":
            return await self._without_input(sweep, pipeline, key, results)
        if not known.settled:
            return _NOTHING
        if await self._differs(pipeline, key, results, known):
            event = _hint(sweep, pipeline, key, EventKind.CREATED)
            return _Verdict(events=(event,))
        return _Verdict(removed=await self._remove(sweep, pipeline, key, results, known))

    async def _without_input(self, sweep: Sweep, pipeline: Pipeline, key: str, results: _Results) -> _Verdict:
        if pipeline.on_delete == "keep":
            return _NOTHING
        found = await self._head(pipeline.output.bucket, results.some)
        if found is None or not token_of(found):
            return _NOTHING
        if await self._head(pipeline.input.bucket, key):
            return _NOTHING  # it has come since, or this is a dry run in which it was not taken in
        return _Verdict(events=(_hint(sweep, pipeline, key, EventKind.REMOVED),), orphaned=1)

    async def _differs(self, pipeline: Pipeline, key: str, results: _Results, known: Known) -> bool:
        """Whether an output under a name of the last result is of another one: a worker's that came late."""
        for name, etag in results.names.items():
            recorded = known.published.get(name)
            if recorded is None or recorded == etag:
                continue
            found = await self._head(pipeline.output.bucket, f"{pipeline.output.prefix}{key}/{name}")
            if found and found.etag != recorded and token_of(found) and token_of(found) != known.token:
                return True
        for name in known.published:
            # A page may end among an input's outputs, so what it does not list is asked for.
            if name in results.names:
                continue
            if await self._head(pipeline.output.bucket, f"{pipeline.output.prefix}{key}/{name}") is None:
                return True  # removed by a call that the store carried out late
        return False

    async def _remove(self, sweep: Sweep, pipeline: Pipeline, key: str, results: _Results, known: Known) -> int:
        """Remove what the last result does not have. Returns how many outputs that are."""
        former: dict[str, str] = {}
        for name, etag in results.names.items() if known.published else ():
            if name not in known.published:
                found = await self._head(pipeline.output.bucket, f"{pipeline.output.prefix}{key}/{name}")
                if found and found.etag == etag and 0 < token_of(found) < known.token:
                    former[name] = etag
        staged = {token for token in results.staged if token < known.token}
        if self._remover is None or sweep.order.dry_run:
            return len(former) + len(staged)
        if former:
            await self._remover.remove_stale(pipeline, key, former, known.token)
        below = await self._remover.remove_staged(pipeline, key, known.token) if staged else 0
        return len(former) + below

    async def _discard_probes(self, sweep: Sweep, pipeline: Pipeline, objects: Sequence[ListedObject]) -> int:
        """Remove what a process that was killed had put there to try the store's conditions. Returns how many."""
        left = [
            item
            for item in objects
            if item.key.removeprefix(pipeline.output.prefix).lstrip("/").startswith(f"{RESERVED_PREFIX}probe-")
            and item.modified < sweep.moment - _PROBED
        ]
        if self._remover and not sweep.order.dry_run:
            for item in left:
                await self._remover.discard(pipeline, item.key, item.etag)
        return len(left)

    async def _head(self, bucket: str, key: str) -> ObjectHead | None:
        async with self._places:
            return await self._store.head(bucket, key)


def _grouped(pipeline: Pipeline, objects: Mapping[str, str]) -> dict[str, _Results]:
    """What lies there (key to ETag), by the input that it would be of."""
    grouped: dict[str, _Results] = defaultdict(_Results)
    for full, etag in objects.items():
        key, slash, name = full.removeprefix(pipeline.output.prefix).rpartition("/")
        above, _, own = key.rpartition("/")
        token = _staged(own)
        key = above if token else key
        if not slash or not name or not pipeline.watches(pipeline.input.bucket, key):
            continue
        if len(key.encode()) > MAX_KEY_BYTES:
            continue
        results = grouped[key]
        results.some = results.some or full
        if token:
            results.staged.add(token)
        elif not name.startswith(RESERVED_PREFIX):
            results.names[name] = etag
    return grouped


def _staged(segment: str) -> int:
    """The token that a part of a key stands for; 0: none."""
    text = segment.removeprefix(RESERVED_PREFIX)
    return int(text) if segment.startswith(RESERVED_PREFIX) and text.isdecimal() and len(text) < 20 else 0


def _hint(sweep: Sweep, pipeline: Pipeline, key: str, kind: EventKind) -> ObjectEvent:
    mark = mark_of(SOURCE, sweep.id, key, "output", kind)
    return ObjectEvent(SOURCE, pipeline.input.bucket, key, kind, ContentVersion(), None, mark)
