"""Runs due sweeps, several at once, on the leading replica, and orders the scheduled ones."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import structlog

from webhook.config import SweepSettings as Settings
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.sweeps import Sweep, Sweeps
from webhook.loops import STALLED_SECONDS, LoopHealth
from webhook.pipelines import Pipelines
from webhook.storage import PreconditionFailed, StoreError
from webhook.sweep.listing import QueryIgnored
from webhook.sweep.schedule import QUERY_IGNORED, due
from webhook.sweep.sweeper import Sweeper

log = structlog.get_logger()

FAILURES = 8
"""Failed attempts at one page after which a sweep has failed: about ten minutes without an answer of the store."""

LOOK_SECONDS = 0.5
SCHEDULE_SECONDS = 5.0
FIRST_SECONDS = 2.0
_LONGEST_RETRY_SECONDS = 300.0


class Runner:
    """Runs and schedules sweeps on the leading replica."""

    def __init__(
        self,
        sweeps: Sweeps,
        sweeper: Sweeper,
        pipelines: Pipelines,
        settings: Settings,
        *,
        done_days: int = 0,
        health: LoopHealth | None = None,
    ) -> None:
        """``done_days``: rows of finished objects are pruned after so many days; 0: never."""
        self._sweeps = sweeps
        self._sweeper = sweeper
        self._pipelines = pipelines
        self._settings = settings
        self._done_days = done_days
        self._health = health or LoopHealth()
        self._running: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Run sweeps until cancelled. The next leader repeats pages that were not committed."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_schedule())
                while True:
                    with self._health.turn("sweeps", STALLED_SECONDS):
                        await self._start(group)
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._running.clear()

    async def order_due(self) -> int:
        """Order the sweeps that the schedule has due now. Returns their number. Raises LedgerUnavailable."""
        pipelines = self._pipelines.by_id
        orders = [
            order
            for last in await self._sweeps.last_scheduled(list(pipelines), self._done_days)
            if (order := due(last, pipelines[last.pipeline_id][1].input.prefix, self._settings))
        ]
        for order in orders:
            await self._sweeps.order(order)
        return len(orders)

    async def _keep_schedule(self) -> None:
        while True:
            with self._health.turn("sweep schedule", STALLED_SECONDS):
                await self.order_due()
            await asyncio.sleep(SCHEDULE_SECONDS)

    async def _start(self, group: asyncio.TaskGroup) -> None:
        places = self._settings.at_once - len(self._running)
        if places < 1:
            return
        for sweep in await self._sweeps.due(list(self._pipelines.by_id), list(self._running), places):
            self._running[sweep.id] = task = group.create_task(self.run_sweep(sweep.id))
            task.add_done_callback(partial(self._ended, sweep.id))

    def _ended(self, id: int, _task: asyncio.Task[None]) -> None:
        self._running.pop(id, None)

    async def run_sweep(self, id: int) -> None:
        """Run a sweep page by page, until it has ended or has to wait for its next attempt."""
        with contextlib.suppress(LedgerUnavailable):
            sweep = await self._sweeps.begin(id)
            while sweep and not sweep.ended:
                began_at = asyncio.get_running_loop().time()
                sweep = await self._page(sweep)
                if sweep and not sweep.ended and sweep.order.pages_per_second:
                    spent = asyncio.get_running_loop().time() - began_at
                    await asyncio.sleep(max(0.0, 1 / sweep.order.pages_per_second - spent))

    async def _page(self, sweep: Sweep) -> Sweep | None:
        """Sweep one page. None: the sweep has ended, or waits for its next attempt."""
        logger = log.bind(
            sweep=sweep.id, kind=sweep.order.kind, pipeline=self._pipelines.name_of(sweep.order.pipeline_id)
        )
        try:
            after = await self._sweeper.step(sweep)
        except LedgerUnavailable:
            raise
        except QueryIgnored:
            if await self._sweeps.cancel(sweep.id, QUERY_IGNORED):
                logger.warning("sweep given up", error=QUERY_IGNORED)
        except (StoreError, PreconditionFailed) as error:
            retry = error.retry if isinstance(error, StoreError) else True
            await self._failed(logger, sweep, str(error), FAILURES if retry else 1)
        except Exception as error:
            # A bug here must not end the leader's other tasks, and the page must not be tried for ever.
            logger.exception("fault in a sweep")
            await self._failed(logger, sweep, f"a fault of the control plane: {type(error).__name__}", FAILURES)
        else:
            if after and after.ended:
                logger.info("swept", seconds=_seconds(after), **_counts(after))
            return after
        return None

    async def _failed(self, logger: structlog.stdlib.BoundLogger, sweep: Sweep, error: str, most: int) -> None:
        retry_seconds = min(_LONGEST_RETRY_SECONDS, FIRST_SECONDS * 2.0**sweep.failures)
        after = await self._sweeps.page_failed(sweep.id, error, retry_seconds, most)
        if after and after.state == "failed":
            logger.error("sweep failed", error=error, hint="nothing is concluded from what was not listed")
        else:
            logger.warning("page not swept", error=error, again_seconds=retry_seconds)


def _seconds(sweep: Sweep) -> float:
    return round((sweep.moment - (sweep.started_at or sweep.created_at)).total_seconds(), 1)


def _counts(sweep: Sweep) -> dict[str, int]:
    counts = sweep.counts
    return {
        "listed": counts.listed, "found": counts.found, "adopted": counts.adopted, "missing": counts.missing,
        "orphaned": counts.orphaned, "removed": counts.removed,
    }  # fmt: skip
