"""Retention: deletes rows of finished objects, quarantine, gone machines and ended sweeps after a number of days.

The result of an object whose row was deleted is not lost: a worker that gets the object again, and a sweep that lists
it, read the manifest.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from webhook.ledger.app_tokens import ENDED_DAYS
from webhook.ledger.arrivals import MOST_WEEKS
from webhook.ledger.ledger import Ledger
from webhook.ledger.run_logs import LOG_DAYS
from webhook.ledger.uploads import UPLOAD_DAYS
from webhook.loops import LoopHealth

log = structlog.get_logger()

BATCH = 1000
"""Rows that one statement examines."""
_PAUSE_SECONDS = 0.05
"""Pause between two statements, so that other transactions get the disk."""
_ROUND_SECONDS = 3600.0
"""Time between two rounds through the tables."""
_AGAIN_SECONDS = 60.0
"""Time after a round that failed."""


class RetentionDays(Protocol):
    """Days for which finished rows are kept; 0: for ever. ``webhook.config.RetentionSettings`` implements it."""

    @property
    def done_days(self) -> int:
        """Objects that are done, gone or forgotten."""
        ...

    @property
    def quarantine_days(self) -> int:
        """Events that could not be read."""
        ...

    @property
    def workers_days(self) -> int:
        """Machines that are gone."""
        ...

    @property
    def events_days(self) -> int:
        """Settles that apps may still be told of."""
        ...

    @property
    def callbacks_days(self) -> int:
        """Callbacks that were told or given up."""
        ...

    @property
    def sweeps_days(self) -> int:
        """Sweeps that ended."""
        ...


class Pruner:
    """Deletes rows whose time has passed, on the leading replica."""

    def __init__(
        self, ledger: Ledger, kept: RetentionDays, *, batch: int = BATCH, health: LoopHealth | None = None
    ) -> None:
        self._ledger = ledger
        self._kept = kept
        self._batch = batch
        self._health = health or LoopHealth()

    async def run(self) -> None:
        """Prune every hour, until cancelled."""
        while True:
            pause_seconds = _AGAIN_SECONDS
            with self._health.turn("retention"):
                pruned = await self.prune(_PAUSE_SECONDS)
                if any(pruned.values()):
                    log.info("pruned", **pruned)
                pause_seconds = _ROUND_SECONDS
            await asyncio.sleep(pause_seconds)

    async def prune(self, pause_seconds: float = 0) -> dict[str, int]:
        """Prune all tables once. Returns the number of rows deleted, by table. Raises LedgerUnavailable."""
        kept = self._kept
        pruned = {"objects": await self._objects(pause_seconds) if kept.done_days else 0}
        for table, query, days in (
            ("quarantine", "prune_quarantine", kept.quarantine_days),
            ("workers", "prune_workers", kept.workers_days),
            ("sweeps", "prune_sweeps", kept.sweeps_days),
            ("callbacks", "prune_callbacks", kept.callbacks_days),
            ("settles", "prune_settles", kept.events_days),
        ):
            pruned[table] = await self._all(query, days, pause_seconds) if days else 0
        pruned["tickets"] = await self._all("prune_tickets", UPLOAD_DAYS, pause_seconds)
        pruned["multipart"] = await self._all("prune_multipart", UPLOAD_DAYS, pause_seconds)
        pruned["run_logs"] = await self._all("prune_run_logs", LOG_DAYS, pause_seconds)
        pruned["app_tokens"] = await self._all("prune_app_tokens", ENDED_DAYS, pause_seconds)
        await self._ledger.fetch("forget_avoided")
        await self._ledger.fetch("forget_wishes")
        await self._ledger.fetch("prune_arrivals", MOST_WEEKS + 1)
        return pruned

    async def _objects(self, pause_seconds: float) -> int:
        pruned: int = 0
        last = 0
        while True:
            [row] = await self._ledger.fetch("prune_objects", last, self._batch, self._kept.done_days)
            pruned += row["pruned"]
            if row["last"] is None:
                return pruned
            last = row["last"]
            await asyncio.sleep(pause_seconds)

    async def _all(self, query: str, days: int, pause_seconds: float) -> int:
        pruned: int = 0
        while True:
            [row] = await self._ledger.fetch(query, self._batch, days)
            pruned += row["pruned"]
            if row["pruned"] < self._batch:
                return pruned
            await asyncio.sleep(pause_seconds)
