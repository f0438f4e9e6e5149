"""Asks the store whether objects are there: after a delete event, a rename, or a worker's 404.

A store that is global may answer 404 from a region that is only late, so absence is believed after several checks with
growing waits between them. Only then, and only where the pipeline says so, are outputs removed.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.ledger import Claimed, Ledger, Settlement
from webhook.ledger.outcome import Absent, Failed, Outcome, Present
from webhook.publishing import KeyTooLong, output_key
from webhook.routing import Routes
from webhook.storage import PreconditionFailed, Store, StoreError

log = structlog.get_logger()

_LEASE_SECONDS = 120.0
_BATCH = 16
_LOOK_SECONDS = 0.5


class AbsenceChecker:
    """Works the ledger's ``check`` lane."""

    def __init__(self, ledger: Ledger, routes: Routes, store: Store) -> None:
        self._ledger = ledger
        self._routes = routes
        self._store = store

    async def run(self) -> None:
        """Check what is due, for ever. Nobody waits for it, so it looks now and then instead of being rung for."""
        while True:
            checked = 0
            with contextlib.suppress(LedgerUnavailable):
                checked = await self.check()
            if not checked:
                await asyncio.sleep(_LOOK_SECONDS)

    async def check(self) -> int:
        """Check one batch of each pipeline. Returns how many objects. Raises LedgerUnavailable."""
        checked = 0
        for row in await self._ledger.fetch("due", list(self._routes.pipelines), "check"):
            number = row["id"]
            claimed = await self._ledger.claim(number, "check", _BATCH, None, _LEASE_SECONDS)
            outcomes = await asyncio.gather(*(self._ask(row) for row in claimed))
            if claimed:
                await self._ledger.settle(
                    [Settlement(row.id, row.token, None, said) for row, said in zip(claimed, outcomes, strict=True)]
                )
            checked += len(claimed)
        return checked

    async def _ask(self, row: Claimed) -> Outcome:
        name, pipeline = self._routes.pipelines[row.pipeline_id]
        about = log.bind(pipeline=name, key=row.key, lease=row.id)
        try:
            if await self._store.head(pipeline.input.bucket, row.key):
                return Present()
            if row.attempt >= pipeline.absent_checks:
                # A bucket that is not there says the same of each of its objects: that is nobody's delete.
                await self._store.reach(pipeline.input.bucket)
                about.info("object is gone", outputs=pipeline.on_delete)
                if pipeline.on_delete == "remove":
                    await self._remove(row)
        except StoreError as error:
            about.warning("absence not checked", error=str(error))
            return Failed("store", str(error), retry=True)
        return Absent()

    async def _remove(self, row: Claimed) -> None:
        """Remove what the last result published, while the lease keeps any worker from publishing anew."""
        pipeline = self._routes.pipelines[row.pipeline_id][1]
        live = await self._ledger.lease(row.id, row.token, None)
        for name, etag in (live.published if live else {}).items():
            try:
                await self._store.delete(pipeline.output.bucket, output_key(pipeline, row.key, name), etag)
            except KeyTooLong:
                continue
            except PreconditionFailed:
                log.warning("output left alone: something else was written there", key=row.key, output=name)
