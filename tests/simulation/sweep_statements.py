"""Model of the statements of sweeps over dicts, beside ``statements`` for those of objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.simulation.rows import EPOCH, Object, SimulatedRow, micros, moment, text_of

_LATE = timedelta(hours=1)
_COUNTED = ("listed", "known", "found", "adopted", "missing", "orphaned", "removed")


@dataclass(slots=True)
class SweepRow:
    """One row of ``sweeps``."""

    id: int
    pipeline_id: int
    kind: str
    scheduled: bool
    prefix: str
    since: datetime | None
    dry_run: bool
    pages_per_second: float
    new_since: datetime | None
    state: str = "wanted"
    stage: str = "inputs"
    cursor: str = ""
    adopts: bool | None = None
    failures: int = 0
    due_at: int = 0
    pages: int = 0
    listed: int = 0
    known: int = 0
    found: int = 0
    adopted: int = 0
    missing: int = 0
    orphaned: int = 0
    removed: int = 0
    error: str | None = None
    created_at: int = 0
    started_at: int | None = None
    finished_at: int | None = None


@dataclass
class SweepTables:
    """The table ``sweeps``, and the statements of sweeps on ``objects``."""

    clock: Callable[[], int]
    objects: dict[tuple[int, str], Object] = field(default_factory=dict)
    by_id: dict[int, Object] = field(default_factory=dict)
    sweeps: dict[int, SweepRow] = field(default_factory=dict)
    last_id: int = 0

    def _move_sweeps(self, now: datetime, back: timedelta) -> None:
        now_micros, micros_back = (now - EPOCH) // timedelta(microseconds=1), back // timedelta(microseconds=1)
        for row in self.sweeps.values():
            for name in ("due_at", "created_at", "started_at", "finished_at"):
                if (at := getattr(row, name)) is not None and at > now_micros:
                    setattr(row, name, at - micros_back)
            if row.since is not None and row.since > now:
                row.since -= back

    def _row(self, row: SweepRow) -> SimulatedRow:
        columns = SimulatedRow(asdict(row), moment=moment(self.clock()))
        for name in ("due_at", "created_at", "started_at", "finished_at"):
            columns[name] = moment(columns[name])
        return columns

    def _sweep_order(self, *order: Any) -> Iterable[SimulatedRow]:
        now = self.clock()
        row = SweepRow(len(self.sweeps) + 1, *order)
        row.due_at = row.created_at = now
        self.sweeps[row.id] = row
        yield self._row(row)

    def _sweep(self, id: int) -> Iterable[SimulatedRow]:
        return [self._row(self.sweeps[id])] if id in self.sweeps else []

    def _sweeps_due(self, pipelines: Sequence[int], but: Sequence[int], most: int) -> Iterable[SimulatedRow]:
        now = self.clock()
        due = [
            row
            for row in self.sweeps.values()
            if row.state in ("wanted", "running") and row.due_at <= now
            and row.pipeline_id in pipelines and row.id not in but
        ]  # fmt: skip
        due.sort(key=lambda row: (row.due_at, row.id))
        return [self._row(row) for row in due[:most]]

    def _sweep_begin(self, id: int) -> Iterable[SimulatedRow]:
        row = self.sweeps.get(id)
        if row is not None and row.state in ("wanted", "running"):
            row.state = "running"
            row.started_at = self.clock() if row.started_at is None else row.started_at
            yield self._row(row)

    def _sweep_advance(
        self, id: int, at_stage: str, at: str, stage: str, cursor: str, adopts: bool | None, over: bool, *counts: int
    ) -> Iterable[SimulatedRow]:
        row = self.sweeps.get(id)
        if row is None or (row.state, row.stage, row.cursor) != ("running", at_stage, at):
            return
        row.stage, row.cursor = stage, cursor
        row.adopts = row.adopts if adopts is None else adopts
        row.state, row.finished_at = ("done", self.clock()) if over else (row.state, None)
        row.pages += 1
        for name, more in zip(_COUNTED, counts, strict=True):
            setattr(row, name, getattr(row, name) + more)
        row.failures, row.error = 0, None
        yield self._row(row)

    def _sweep_failed(self, id: int, error: str, again_seconds: float, most: int) -> Iterable[SimulatedRow]:
        row = self.sweeps.get(id)
        if row is None or row.state != "running":
            return
        row.failures += 1
        row.error = error
        row.due_at = self.clock() + micros(again_seconds)
        if row.failures >= most:
            row.state, row.finished_at = "failed", self.clock()
        yield self._row(row)

    def _compare(
        self, pipeline_id: int, keys: Sequence[str], etags: Sequence[str], moments: Sequence[datetime],
        asked_at: datetime, lag_seconds: float,
    ) -> Iterable[SimulatedRow]:  # fmt: skip
        for position, (key, etag, modified) in enumerate(zip(keys, etags, moments, strict=True)):
            row = self.objects.get((pipeline_id, key))
            if row is None:
                yield SimulatedRow(position=position, unknown=True, older=False)
            elif not _known(row, etag, modified, asked_at, lag_seconds):
                older = row.state == "done" and _before(modified, row)
                yield SimulatedRow(position=position, unknown=False, older=older)

    def _missing(
        self, pipeline_id: int, first: str, after: str, until: str, began: datetime, listed: Sequence[str], most: int
    ) -> Iterable[SimulatedRow]:
        found = [
            row.key
            for row in self.objects.values()
            if row.pipeline_id == pipeline_id and first <= row.key and after < row.key <= until
            and row.state in ("done", "parked") and _at(row.due_at) < began and row.key not in listed
        ]  # fmt: skip
        return [SimulatedRow(key=key) for key in sorted(found, key=str.encode)[:most]]

    def _adopt(self, pipeline_id: int, *columns: Sequence[Any]) -> None:
        now = self.clock()
        for key, mark, etag, size, modified, token, published, verdict in zip(*columns, strict=True):
            self.last_id += 1
            if (pipeline_id, key) in self.objects:
                continue
            row = Object(
                self.last_id, pipeline_id, key, "done", "work", now, now, "adopted", mark, seen_at=now,
                event_etag=etag, event_size=size, newest_at=modified, token=token, done_etag=etag,
                done_modified=modified, done_at=now, published=json.loads(published), done_verdict=verdict,
            )  # fmt: skip
            self.objects[pipeline_id, key] = self.by_id[row.id] = row

    def _outputs_known(self, pipeline_id: int, keys: Sequence[str], began: datetime) -> Iterable[SimulatedRow]:
        for key in sorted(set(keys), key=str.encode):
            row = self.objects.get((pipeline_id, key))
            if row is not None:
                settled = row.state == "done" and _at(row.due_at) < began
                yield SimulatedRow(
                    key=key, state=row.state, settled=settled, token=row.token, published=text_of(row.published)
                )

    def _invalidate_results(self, pipeline_id: int, keys: Sequence[str], began: datetime) -> None:
        for key in keys:
            row = self.objects.get((pipeline_id, key))
            if row is not None and row.state == "done" and _at(row.due_at) < began:
                row.publish_started = True


def _at(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=at)


def _before(modified: datetime, row: Object) -> bool:
    newest = row.done_modified or row.newest_at
    return newest is not None and modified < newest.replace(microsecond=0)


def _known(row: Object, etag: str, modified: datetime, asked_at: datetime, lag_seconds: float) -> bool:
    match row.state:
        case "pending" | "leased":
            return row.event_etag == etag or (
                row.event_etag is None and row.newest_at is not None and row.newest_at >= modified
            )
        case "done":
            return row.done_etag == etag or (_before(modified, row) and _at(row.due_at) > asked_at - _LATE)
        case "parked":
            late = row.leased_at is not None and _at(row.leased_at) > modified + timedelta(seconds=lag_seconds)
            return row.event_etag == etag or late
        case "forgotten":
            return modified <= _at(row.due_at)
        case _:
            return _at(row.due_at) >= asked_at
