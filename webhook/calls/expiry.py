"""Removes calls after some time: arguments first, and with them, by the sweep's own checks, the values."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from webhook.config import Pipeline
from webhook.events import ContentVersion, EventKind, ListedObject, ObjectEvent, mark_of
from webhook.ledger.ledger import Ledger, ReceivedEvents
from webhook.loops import LoopHealth
from webhook.pipelines import Pipelines
from webhook.storage import ObjectStore, PreconditionFailed, StoreError

log = structlog.get_logger()

SOURCE = "expiry"
_LOOK_SECONDS = 600.0


class CallExpiry:
    """Deletes the arguments of calls that are older than ``keep_hours``."""

    def __init__(
        self, ledger: Ledger, pipelines: Pipelines, store: ObjectStore, keep_hours: float, health: LoopHealth
    ) -> None:
        self._ledger = ledger
        self._pipelines = pipelines
        self._store = store
        self._keep = timedelta(hours=keep_hours)
        self._health = health

    async def run(self) -> None:
        """Look now and then, for ever."""
        while True:
            with self._health.turn("expiry of calls"):
                await self.look(datetime.now(UTC) - self._keep)
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self, before: datetime) -> int:
        """Remove all calls whose arguments were written before a moment. Returns their number."""
        removed = 0
        for number, (name, pipeline) in list(self._pipelines.by_id.items()):
            if pipeline.handler == "function" and pipeline.options.get("calls"):
                try:
                    removed += await self._look_at(number, pipeline, before)
                except StoreError as error:
                    log.warning("calls not expired", pipeline=name, error=str(error))
        return removed

    async def _look_at(self, number: int, pipeline: Pipeline, before: datetime) -> int:
        place, after, removed = pipeline.input, "", 0
        while True:
            page = await self._store.list_page(place.bucket, place.prefix, after=after)
            for item in page.objects:
                if item.modified < before:
                    removed += await self._remove(number, place.bucket, item)
            if not page.more:
                return removed
            after = page.last

    async def _remove(self, number: int, bucket: str, item: ListedObject) -> int:
        try:
            await self._store.delete(bucket, item.key, item.etag)
        except PreconditionFailed:  # written anew meanwhile
            return 0
        event = ObjectEvent(
            SOURCE, bucket, item.key, EventKind.REMOVED, ContentVersion(), None,
            mark_of(SOURCE, bucket, item.key, item.etag, item.modified),
        )  # fmt: skip
        await self._ledger.record([ReceivedEvents([(number, event)], (), ())])
        return 1
