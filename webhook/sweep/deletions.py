"""Confirms deletions by HEAD requests, and restores archived objects: the ``check`` lane of the ledger.

Objects come here after a delete event, a rename, a worker's 404, or because they are archived. A region of a global
store may answer 404 only because it lags, so a deletion is believed after several checks with growing waits between
them. Only then are the outputs removed or moved to the trash, if the pipeline's ``on_delete`` says so.

An archived object is restored, if the pipeline's ``restore_days`` says so, and checked again until it can be read.
"""

from __future__ import annotations

import asyncio
import json

import structlog
from structlog.typing import FilteringBoundLogger as BoundLogger

from webhook.config import Pipeline
from webhook.ledger.ledger import ClaimedObject, Ledger, Settlement
from webhook.ledger.transitions import Failure, NotFound, Outcome, Present, Restoring
from webhook.loops import STALLED_SECONDS, LoopHealth
from webhook.outputs.removal import Remover
from webhook.pipelines import Pipelines
from webhook.storage import ObjectStore, StoreError
from webhook.storage.late_effects import ABANDONED_SECONDS

log = structlog.get_logger()

_LEASE_SECONDS = 30.0
"""Lease of one check: after a crash of the control plane the object waits for so long."""
_REQUEST_SECONDS = 20.0
"""Timeout of all requests to the store for one check. Below the lease."""
_REMOVE_SECONDS = 60.0
"""Timeout of the removal. The next check removes what is left."""
_HOLD_SECONDS = _REMOVE_SECONDS + ABANDONED_SECONDS
"""Lease of an object whose outputs are being removed, so that no worker publishes new ones while a request may still
remove them."""
_BATCH = 16
_POLL_SECONDS = 0.5


class _Unfinished(Exception):
    """The removal timed out, and requests that were sent may still remove outputs."""


class DeletionChecker:
    """Claims objects of the ``check`` lane, sends HEAD requests for them and settles them."""

    def __init__(
        self,
        ledger: Ledger,
        pipelines: Pipelines,
        store: ObjectStore,
        remover: Remover,
        health: LoopHealth | None = None,
    ) -> None:
        self._ledger = ledger
        self._pipelines = pipelines
        self._store = store
        self._remover = remover
        self._health = health or LoopHealth()

    async def run(self) -> None:
        """Check due objects until cancelled. It polls, since no request waits for a check."""
        while True:
            checked = 0
            with self._health.turn("deletion checks", 2 * STALLED_SECONDS):
                checked = await self.check()
            if not checked:
                await asyncio.sleep(_POLL_SECONDS)

    async def check(self) -> int:
        """Check one batch of each pipeline. Returns the number of objects. Raises LedgerUnavailable."""
        checked, pipelines = 0, self._pipelines.by_id
        for due in await self._ledger.fetch("due", list(pipelines), "check"):
            claimed = await self._ledger.claim(due["id"], "check", _BATCH, None, _LEASE_SECONDS)
            await asyncio.gather(*(self._check(item, *pipelines[item.pipeline_id]) for item in claimed))
            checked += len(claimed)
        return checked

    async def _check(self, claimed: ClaimedObject, name: str, pipeline: Pipeline) -> None:
        logger = log.bind(pipeline=name, key=claimed.key, lease=claimed.id)
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                outcome = await self._answer(claimed, pipeline, logger)
            if (
                isinstance(outcome, NotFound)
                and claimed.attempt >= pipeline.absent_checks
                and pipeline.on_delete != "keep"
            ):
                await self._remove(claimed, pipeline, logger)
        except _Unfinished:
            logger.warning("outputs not removed yet", error="it took too long")
            # Not settled: requests under way might remove what a worker publishes next, so the lease lasts until its
            # deadline.
            return
        except (StoreError, TimeoutError) as error:
            logger.warning("absence not checked", error=str(error) or "it took too long")
            outcome = Failure("store", str(error) or "The store took too long.", retry=True)
        await self._ledger.settle([Settlement(claimed.id, claimed.token, None, outcome)])

    async def _answer(self, claimed: ClaimedObject, pipeline: Pipeline, logger: BoundLogger) -> Outcome:
        head = await self._store.head(pipeline.input.bucket, claimed.key, consistent=pipeline.consistent_reads)
        if head is not None:
            archived = head.archived and pipeline.restore_days > 0
            return await self._restore(claimed, pipeline, logger) if archived else Present()
        if claimed.attempt >= pipeline.absent_checks:
            # A missing bucket, or a wrong name, gives 404 for each object without any having been deleted.
            await self._store.check_bucket(pipeline.input.bucket)
        return NotFound()

    async def _restore(self, claimed: ClaimedObject, pipeline: Pipeline, logger: BoundLogger) -> Outcome:
        try:
            await self._store.restore(pipeline.input.bucket, claimed.key, pipeline.restore_days)
        except StoreError as error:
            if error.retry:
                raise
            return Failure(
                "store", f"The file is archived, and the store does not bring it back: {error}.", retry=False
            )
        logger.info("archived object is being restored", days=pipeline.restore_days)
        return Restoring()

    async def _remove(self, claimed: ClaimedObject, pipeline: Pipeline, logger: BoundLogger) -> None:
        """Remove the outputs, while the lease prevents workers from publishing new ones.

        The result is invalidated first: the same content may come back at any moment, and has to be processed then.
        """
        for vanished in await self._ledger.fetch(
            "vanish", claimed.id, claimed.token, pipeline.replica_lag_seconds, _HOLD_SECONDS
        ):
            logger.info("object is gone", outputs=pipeline.on_delete)
            try:
                async with asyncio.timeout(_REMOVE_SECONDS):
                    published = json.loads(vanished["published"] or "{}")
                    await self._remover.remove_all(pipeline, claimed.key, published, claimed.token)
            except TimeoutError:
                raise _Unfinished from None
