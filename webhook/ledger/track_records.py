"""Counts for each worker and pipeline how leases end, with a result or without, and writes the counts to the ledger.

Noted in memory and written now and then, so that a settlement costs no further statement. A replica that dies loses the
notes of a few seconds, which a judgement of dozens of leases can miss.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from webhook.ledger.queries import QUERIES
from webhook.ledger.transitions import LeasedRow, LeaseReleased, NextState, Outcome, Present, Restoring

if TYPE_CHECKING:
    from webhook.ledger.database import Database

REMEMBERED = 200.0
"""Leases of one worker and pipeline after which the earlier ones count half."""


class TrackRecords:
    """What is not in the ledger yet."""

    def __init__(self) -> None:
        self._good: Counter[tuple[int, int]] = Counter()
        self._bad: Counter[tuple[int, int]] = Counter()

    def note(self, row: LeasedRow, outcome: Outcome, following: NextState) -> None:
        """Note how a worker's lease ended."""
        worker_id = row.worker_id
        if worker_id is None or isinstance(outcome, Present | Restoring):
            return
        if isinstance(outcome, LeaseReleased) and outcome.without_handler:
            return  # its pipeline is paused there already
        counts = self._good if following.finished else self._bad
        counts[worker_id, row.pipeline_id] += 1

    async def write(self, database: Database) -> None:
        """Write what is new. Raises LedgerUnavailable; then those notes are lost."""
        good, self._good = self._good, Counter()
        bad, self._bad = self._bad, Counter()
        places = sorted(good.keys() | bad.keys())
        if not places:
            return
        async with database.connection() as connection:
            await connection.execute(
                QUERIES["report_track_records"],
                [worker_id for worker_id, _ in places],
                [pipeline_id for _, pipeline_id in places],
                [float(good[place]) for place in places],
                [float(bad[place]) for place in places],
                REMEMBERED,
            )
