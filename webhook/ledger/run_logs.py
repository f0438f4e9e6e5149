"""Keeps what runs printed, for people: the newest of each pipeline, for some days.

Nothing is decided by it. It is written after the settlement, in a statement of its own: a crash in between loses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import asyncpg

from webhook.ledger.leased_rows import storable
from webhook.ledger.ledger import Ledger

KEPT_RUNS = 1_000
"""Of each pipeline."""
LOG_DAYS = 8
"""After which they are deleted."""


@dataclass(frozen=True, slots=True)
class EndedRun:
    """One run of a handler, as its worker described it."""

    pipeline_id: int
    key: str
    worker_id: int
    log: str
    """The end of what was printed."""
    reason: str = ""
    """Of a failure: a code. Empty: the run succeeded."""
    message: str = ""
    retry: bool = False
    """Whether another attempt follows, if one is left."""


class RunLogs:
    """What runs printed. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def add(self, run: EndedRun) -> None:
        """Keep a run's log, and drop the oldest of its pipeline where there are more than `KEPT_RUNS`."""
        number, key, worker, *texts, retry = astuple(run)
        await self._ledger.fetch("add_run_log", number, key, worker, *map(storable, texts), retry, KEPT_RUNS)

    async def page(
        self, pipelines: Sequence[str], after: int | None, most: int, *, failed: bool = False
    ) -> list[asyncpg.Record]:
        """Return runs of these pipelines by id: the first ones after an id, or without one the newest.

        ``failed``: only those that did.
        """
        return await self._ledger.fetch("run_logs", list(pipelines), failed, after, most)
