"""Model of the statements that revoke a worker, and have what it reported processed again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.simulation.rows import EPOCH, Object, SimulatedRow
from tests.simulation.sweep_statements import SweepTables

_AHEAD = timedelta(minutes=10)


@dataclass
class DistrustTables(SweepTables):
    """The table of workers, as far as it decides who may lease."""

    ready: set[int] = field(default_factory=set)
    """Ids of the workers that may lease."""
    revoked: set[int] = field(default_factory=set)
    """Ids of the workers that are distrusted, and not gone yet."""
    gone: set[int] = field(default_factory=set)
    """Ids of those that are gone."""

    def _distrust(self, worker_id: int, _why: str) -> Iterable[SimulatedRow]:
        if worker_id in self.ready | self.revoked:
            self.ready.discard(worker_id)
            self.revoked.add(worker_id)
            yield SimulatedRow(id=worker_id)

    def _gone(self, worker_id: int) -> Iterable[SimulatedRow]:
        if worker_id in self.revoked:
            self.revoked.discard(worker_id)
            self.gone.add(worker_id)
            yield SimulatedRow(id=worker_id, reason="distrusted")

    def _distrust_gone(self, worker_id: int, _why: str) -> Iterable[SimulatedRow]:
        return [SimulatedRow(id=worker_id)] if worker_id in self.gone else []

    def _is_of(self, row: Object, worker_id: int) -> bool:
        said_by = (row.error or {}).get("worker")
        return row.done_by == worker_id or (row.state == "parked" and said_by == worker_id)

    def _by_worker(self, worker_id: int, after: int, most: int) -> Iterable[SimulatedRow]:
        mine = sorted(row.id for row in self.objects.values() if self._is_of(row, worker_id) and row.id > after)
        return [SimulatedRow(id=id) for id in mine[:most]]

    def _lock_by_worker(self, worker_id: int, ids: Sequence[int]) -> Iterable[SimulatedRow]:
        rows = [row for row in self.objects.values() if row.id in ids and self._is_of(row, worker_id)]
        rows.sort(key=lambda row: (row.pipeline_id, row.key.encode()))
        for row in rows:
            begins = row.state in ("done", "leased") and not row.rerun_requested
            yield SimulatedRow(id=row.id, pipeline_id=row.pipeline_id, begins=begins)

    def _rework(self, ids: Sequence[int]) -> None:
        for row in map(self.by_id.__getitem__, ids):
            if row.state == "done":
                row.lane = "work"
            if row.state in ("done", "parked"):
                row.state, row.due_at = "pending", self.clock()
                row.attempts = row.faults = row.losses = row.returns = 0
                row.given_up_by = None
            if row.state == "leased":
                row.rerun_requested, row.rerun_lane = True, "work"
            row.publish_started = True
            row.newest_at, row.done_modified = self._not_ahead(row.newest_at), self._not_ahead(row.done_modified)

    def _accrue(self, *_: object) -> None:
        """Machines of the model cost nothing."""

    def _not_ahead(self, modified: datetime | None) -> datetime | None:
        now = EPOCH + timedelta(microseconds=self.clock())
        return now if modified is not None and modified > now + _AHEAD else modified
