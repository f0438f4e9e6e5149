"""Forgetting what is long over, so that the ledger stays as large as what goes on.

An object that was pruned is not forgotten for good: its manifest tells of its result, to the worker that meets it again
and to the sweep that lists it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

import structlog

from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.ledger import Ledger

log = structlog.get_logger()

BATCH = 1000
"""Rows looked at in one statement."""
_PAUSE_SECONDS = 0.05
"""Between two statements: there is no hurry, and others wait for the disk."""
_ROUND_SECONDS = 3600.0
"""Between two walks through the table."""


class RetentionDays(Protocol):
    """For how many days finished rows are kept. 0: for ever. ``webhook.config.RetentionSettings`` is one."""

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
    def sweeps_days(self) -> int:
        """Sweeps that ended."""
        ...


class Pruner:
    """Prunes rows past their time, on the replica that leads."""

    def __init__(self, ledger: Ledger, kept: RetentionDays, *, batch: int = BATCH) -> None:
        self._ledger = ledger
        self._kept = kept
        self._batch = batch

    async def run(self) -> None:
        """Prune now and then, until cancelled."""
        while True:
            with contextlib.suppress(LedgerUnavailable):
                pruned = await self.prune(_PAUSE_SECONDS)
                if any(pruned.values()):
                    log.info("pruned", **pruned)
            await asyncio.sleep(_ROUND_SECONDS)

    async def prune(self, pause_seconds: float = 0) -> dict[str, int]:
        """Go through everything once. Returns how many rows went, by table. Raises LedgerUnavailable."""
        kept = self._kept
        pruned = {"objects": await self._objects(pause_seconds) if kept.done_days else 0}
        for table, query, days in (
            ("quarantine", "prune_quarantine", kept.quarantine_days),
            ("workers", "prune_workers", kept.workers_days),
            ("sweeps", "prune_sweeps", kept.sweeps_days),
        ):
            pruned[table] = await self._all(query, days, pause_seconds) if days else 0
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
