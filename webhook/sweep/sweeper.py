"""Compares a bucket's listing with the ledger, page by page, and records lost events and deletions.

A listing is a hint like an event, never the truth: each difference is recorded like a notification's event, and a
request for that one object decides. A listing that fails, or that cannot be right, proves nothing: the sweep stays at
the end of the last good page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from webhook.config import Pipeline
from webhook.events import (
    ContentVersion,
    EventKind,
    ListedObject,
    ObjectEvent,
    UnreadableEvent,
    mark_of,
    plausible_modified,
)
from webhook.ledger.sweeps import END, AdoptedResult, PageResult, Sweep, SweepCounts, Sweeps, UnknownObject
from webhook.outputs.removal import Remover
from webhook.pipelines import Pipelines
from webhook.sources import checked_key
from webhook.sweep.listing import SOURCE, ListingStore, UntrustedListing, check_query, checked
from webhook.sweep.manifests import Manifests
from webhook.sweep.orphaned_outputs import OrphanedOutputs

PAGE = 1000
"""Objects on a page: S3's limit."""

_MISSING = 500
"""Most deletions that are recorded in one transaction."""


class Sweeper:
    """Sweeps single pages. It has no clock and does not wait: its caller decides when."""

    def __init__(
        self,
        sweeps: Sweeps,
        store: ListingStore,
        pipelines: Pipelines,
        remover: Remover | None = None,
        *,
        page: int = PAGE,
    ) -> None:
        """Without a ``remover``, leftover outputs are only counted."""
        self._sweeps = sweeps
        self._store = store
        self._pipelines = pipelines
        self._page = page
        self._manifests = Manifests(store)
        self._outputs = OrphanedOutputs(sweeps, store, pipelines.all, remover, page=page)

    async def step(self, sweep: Sweep) -> Sweep | None:
        """Sweep the next page of a running sweep. None: it has ended, or another replica has committed this page.

        Raises StoreError, QueryIgnored and LedgerUnavailable; then nothing was written, and the caller repeats the page
        later.
        """
        if sweep.order.pipeline_id not in self._pipelines.by_id:
            return None  # it was removed meanwhile: the sweep goes on if it is defined again
        name, pipeline = self._pipelines.by_id[sweep.order.pipeline_id]
        if sweep.stage == "outputs":
            page = await self._outputs.page(sweep, pipeline)
        else:
            page = await self._inputs(sweep, name, pipeline)
        return await self._sweeps.commit_page(sweep, page)

    async def _inputs(self, sweep: Sweep, name: str, pipeline: Pipeline) -> PageResult:
        listed_range = await self._list_range(sweep, pipeline)
        watched = [item for item in listed_range.objects if _is_in_scope(sweep, pipeline, item)]
        compared = await self._sweeps.compare(sweep, watched, pipeline.replica_lag_seconds)
        unknown = [item for item in compared if item.row or _is_new(sweep, item.listed)]
        adopts, adopted = await self._adopted(sweep, name, pipeline, unknown)
        adopted_keys = {item.listed.key for item in adopted}
        lost = [item for item in unknown if item.listed.key not in adopted_keys]
        events = [_created(sweep, pipeline, item) for item in lost]
        events += [_removed(sweep, pipeline, key) for key in listed_range.missing]
        # A full sweep lists the inputs, and then the outputs from their first key on.
        onward = listed_range.finished and sweep.order.kind == "full"
        return PageResult(
            stage="outputs" if onward else "inputs",
            cursor="" if onward else listed_range.until,
            finished=listed_range.finished and not onward,
            counts=SweepCounts(
                listed=len(watched), known=len(watched) - len(unknown), found=len(lost), adopted=len(adopted),
                missing=len(listed_range.missing),
            ),
            adopts=adopts,
            events=events,
            adopted=adopted,
        )  # fmt: skip

    async def _list_range(self, sweep: Sweep, pipeline: Pipeline) -> _ListedRange:
        """List a page, and find the ledger's objects in its range of keys that it does not show."""
        order, bucket = sweep.order, pipeline.input.bucket
        page = await self._store.list_page(
            bucket, order.prefix, after=sweep.cursor, most=self._page, modified_since=order.since
        )
        objects = checked(page, order.prefix, sweep.cursor)
        if order.scheduled and order.since:
            check_query(page, order.since)
        until = objects[-1].key if objects else sweep.cursor
        if order.kind != "full":
            return _ListedRange(objects, until, (), not page.more)
        missing = await self._sweeps.missing(
            sweep, until if page.more else order.prefix + END, [item.key for item in objects], _MISSING
        )
        if len(missing) == _MISSING:
            # There may be more of them: the page ends at the last one, and the next page lists the rest again.
            return _ListedRange([item for item in objects if item.key <= missing[-1]], missing[-1], missing, False)
        if not page.more:
            await self._verify_end(bucket, objects, missing)
        return _ListedRange(objects, until, missing, not page.more)

    async def _verify_end(self, bucket: str, objects: Sequence[ListedObject], missing: Sequence[str]) -> None:
        """Check by HEAD requests for a sample of missing objects that a listing has not ended too early.

        Raises UntrustedListing where all of the sample exist.
        """
        sample = sorted({missing[0], missing[len(missing) // 2], missing[-1]}) if missing else []
        if not sample or (objects and len(sample) < 3):
            return
        heads = await asyncio.gather(*(self._store.head(bucket, key) for key in sample))
        if all(heads):
            raise UntrustedListing(
                f"the listing of {bucket!r} ended without {len(missing)} objects that the ledger knows, and "
                f"{sample[0]!r} is there: nothing is concluded from it"
            )

    async def _adopted(
        self, sweep: Sweep, name: str, pipeline: Pipeline, unknown: Sequence[UnknownObject]
    ) -> tuple[bool | None, list[AdoptedResult]]:
        new = [item.listed for item in unknown if not item.row]
        if not new or sweep.adopts is False:
            return sweep.adopts, []
        if sweep.adopts is None:
            # An empty output location has no manifests: one listing saves a GET request for each object.
            place = pipeline.output
            if not (await self._store.list_page(place.bucket, place.prefix, most=1)).objects:
                return False, []
        return True, await self._manifests.results_of(name, pipeline, new)


@dataclass(frozen=True, slots=True)
class _ListedRange:
    """Range of keys between the sweep's cursor and the next one."""

    objects: Sequence[ListedObject]
    until: str
    missing: Sequence[str]
    finished: bool


def _is_in_scope(sweep: Sweep, pipeline: Pipeline, item: ListedObject) -> bool:
    since = sweep.order.since
    try:
        checked_key(item.key)
    except UnreadableEvent:
        # A notification of it is quarantined too: no client could fetch the object or its outputs.
        return False
    return pipeline.watches(pipeline.input.bucket, item.key) and (since is None or item.modified >= since)


def _is_new(sweep: Sweep, item: ListedObject) -> bool:
    return sweep.order.new_since is None or item.modified >= sweep.order.new_since


def _created(sweep: Sweep, pipeline: Pipeline, item: UnknownObject) -> ObjectEvent:
    listed = item.listed
    # Content other than the last result's, yet with an earlier Last-Modified, as a rename may leave it. With that time
    # the event would be dropped as stale.
    modified = None if item.older else _plausible(listed.modified)
    return ObjectEvent(
        SOURCE, pipeline.input.bucket, listed.key, EventKind.CREATED,
        ContentVersion(listed.etag or None, modified), listed.size,
        mark_of(SOURCE, sweep.id, listed.key, listed.etag, listed.modified),
    )  # fmt: skip


def _removed(sweep: Sweep, pipeline: Pipeline, key: str) -> ObjectEvent:
    return ObjectEvent(
        SOURCE,
        pipeline.input.bucket,
        key,
        EventKind.REMOVED,
        ContentVersion(),
        None,
        mark_of(SOURCE, sweep.id, key, "missing"),
    )


def _plausible(moment: datetime) -> datetime | None:
    try:
        return plausible_modified(moment)
    except OverflowError:
        return None
