"""Asks the store whether objects are there: after a delete event, a rename, a worker's 404, or one that is archived.

A store that is global may answer 404 from a region that is only late, so absence is believed after several checks with
growing waits between them. Only then, and only where the pipeline says so, are outputs removed or moved to the trash.

An object that is there but archived is brought back, where the pipeline says so, and looked at again until it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

import structlog
from structlog.typing import FilteringBoundLogger as BoundLogger

from webhook.config import Pipeline
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.ledger import ClaimedObject, Ledger, Settlement
from webhook.ledger.transitions import Failure, NotFound, Outcome, Present, Restoring
from webhook.outputs.removal import Remover
from webhook.pipelines import Pipelines
from webhook.storage import ObjectStore, StoreError

log = structlog.get_logger()

_LEASE_SECONDS = 30.0
"""An object whose checker was killed waits for so long."""
_ASK_SECONDS = 20.0
"""For the questions about one object. Below the lease."""
_HOLD_SECONDS = 90.0
"""For which nobody else gets an object whose outputs are being removed."""
_REMOVE_SECONDS = 30.0
"""For that. What was not removed by then is removed by the next try."""
_BATCH = 16
_LOOK_SECONDS = 0.5


class _Unfinished(Exception):
    """Outputs are still being removed by calls that nobody can take back."""


class DeletionChecker:
    """Works the ledger's ``check`` lane."""

    def __init__(self, ledger: Ledger, pipelines: Pipelines, store: ObjectStore, remover: Remover) -> None:
        self._ledger = ledger
        self._pipelines = pipelines
        self._store = store
        self._remover = remover

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
        for row in await self._ledger.fetch("due", list(self._pipelines.by_id), "check"):
            number = row["id"]
            claimed = await self._ledger.claim(number, "check", _BATCH, None, _LEASE_SECONDS)
            await asyncio.gather(*(self._check(row) for row in claimed))
            checked += len(claimed)
        return checked

    async def _check(self, row: ClaimedObject) -> None:
        name, pipeline = self._pipelines.by_id[row.pipeline_id]
        about = log.bind(pipeline=name, key=row.key, lease=row.id)
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                outcome = await self._answer(row, pipeline, about)
            if isinstance(outcome, NotFound) and row.attempt >= pipeline.absent_checks and pipeline.on_delete != "keep":
                await self._remove(row, pipeline, about)
        except _Unfinished:
            about.warning("outputs not removed yet", error="it took too long")
            return  # calls are still under way: until the deadline nobody may publish what they would remove
        except (StoreError, TimeoutError) as error:
            about.warning("absence not checked", error=str(error) or "it took too long")
            outcome = Failure("store", str(error) or "The store took too long.", retry=True)
        await self._ledger.settle([Settlement(row.id, row.token, None, outcome)])

    async def _answer(self, row: ClaimedObject, pipeline: Pipeline, about: BoundLogger) -> Outcome:
        found = await self._store.head(pipeline.input.bucket, row.key, consistent=pipeline.consistent_reads)
        if found is not None:
            archived = found.archived and pipeline.restore_days > 0
            return await self._restore(row, pipeline, about) if archived else Present()
        if row.attempt >= pipeline.absent_checks:
            # A bucket that is not there says the same of each of its objects: that is nobody's delete.
            await self._store.reach(pipeline.input.bucket)
        return NotFound()

    async def _restore(self, row: ClaimedObject, pipeline: Pipeline, about: BoundLogger) -> Outcome:
        try:
            await self._store.restore(pipeline.input.bucket, row.key, pipeline.restore_days)
        except StoreError as error:
            if error.retry:
                raise
            return Failure(
                "store", f"The file is archived, and the store does not bring it back: {error}.", retry=False
            )
        about.info("archived object is being restored", days=pipeline.restore_days)
        return Restoring()

    async def _remove(self, row: ClaimedObject, pipeline: Pipeline, about: BoundLogger) -> None:
        """Take the outputs away, while the lease keeps any worker from publishing anew.

        That there was a result is forgotten first: the same content may come back at any moment, and is worked then.
        """
        for vanished in await self._ledger.fetch(
            "vanish", row.id, row.token, pipeline.replica_lag_seconds, _HOLD_SECONDS
        ):
            about.info("object is gone", outputs=pipeline.on_delete)
            try:
                async with asyncio.timeout(_REMOVE_SECONDS):
                    published = json.loads(vanished["published"] or "{}")
                    await self._remover.remove_all(pipeline, row.key, published, row.token)
            except TimeoutError:
                raise _Unfinished from None
