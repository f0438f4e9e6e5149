"""Model of the ledger's statements over dicts: ``queries.sql`` in Python.

All other code of the ledger is the real one. ``test_conformance`` runs the same statements on PostgreSQL and compares
each answer and every row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.simulation.distrust_statements import DistrustTables
from tests.simulation.rows import EPOCH, Object, SimulatedRow, coalesce, greatest, micros, moment, text_of
from webhook.ledger.machines import HandlingReport

FIRST_TOKEN = 1_000
_MOST_ATTEMPTS = 32_000
_MOVED = ("due_at", "event_at", "seen_at", "leased_at", "done_at")
"""Moments of an object that are moved when the clock is set back."""


@dataclass
class Tables(DistrustTables):
    """The ledger's tables. The clock gives microseconds."""

    handling: dict[int, HandlingReport] = field(default_factory=dict)
    """What is in the handler of each worker, as it has reported."""
    tally: Counter[tuple[int, str]] = field(default_factory=Counter)
    quarantine: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    last_token: int = FIRST_TOKEN
    latest_reading: int = 0
    """The latest time that the clock was seen to show, in microseconds."""
    chosen: list[tuple[int, int]] | None = None
    """Ids and tokens of the objects that PostgreSQL leased in the statement that the model executes next."""
    without: frozenset[str] = frozenset()
    """Guards that a mutant removes."""

    def run(self, name: str, *arguments: Any) -> list[SimulatedRow]:
        """Execute a statement by its name. Returns its rows."""
        statement: Callable[..., Iterable[SimulatedRow] | None] = getattr(self, f"_{name}")
        return list(statement(*arguments) or ())

    def empty(self) -> None:
        """Empty all tables."""
        self.handling.clear()
        for table in (self.objects, self.by_id, self.sweeps, self.tally, self.quarantine):
            table.clear()
        self.last_id = 0

    # ── the clock ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _clock_behind(self) -> Iterable[SimulatedRow]:
        return [SimulatedRow(behind_seconds=(self.latest_reading - self.clock()) / 1e6)]

    def _keep_reading(self) -> None:
        self.latest_reading = max(self.latest_reading, self.clock())

    def _lock_reading(self) -> Iterable[SimulatedRow]:
        return [SimulatedRow(latest=moment(self.latest_reading), now=moment(self.clock()))]

    def _replace_reading(self, reading: datetime) -> None:
        self.latest_reading = (reading - EPOCH) // timedelta(microseconds=1)

    def _move_objects(self, now: datetime, back: timedelta) -> None:
        now_micros, micros_back = (now - EPOCH) // timedelta(microseconds=1), back // timedelta(microseconds=1)
        for row in self.objects.values():
            moved = [name for name in _MOVED if (at := getattr(row, name)) is not None and at > now_micros]
            if "leased_at" in moved and row.deadline is not None and row.deadline > (row.leased_at or 0):
                moved.append("deadline")
            for name in moved:
                setattr(row, name, getattr(row, name) - micros_back)

    def _move_nothing(self, now: datetime, back: timedelta) -> None:
        """Move what the model does not have."""

    _move_workers = _move_remaining = _move_senders = _move_nothing

    # ── recording ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _record(self, *columns: Sequence[Any]) -> Iterable[SimulatedRow]:
        now = self.clock()
        for event in zip(*columns, strict=True):
            self.last_id += 1  # as an identity column counts, also where the row is there already
            place = event[:2]
            known = self.objects.get(place)
            if known is None:
                self._insert(now, *event)
            elif not self._merge(known, now, *event[2:]):
                continue
            yield SimulatedRow(pipeline_id=place[0], key=place[1], verdict=self.objects[place].verdict)

    def _insert(
        self, now: int, pipeline_id: int, key: str, lane: str, mark: bytes, etag: str | None, there: bool,
        size: int | None, scheme: str | None, ordinal: bytes | None, latest: bytes | None, modified: datetime | None,
    ) -> None:  # fmt: skip
        row = Object(
            self.last_id, pipeline_id, key, "pending", lane, now, now, "accepted", mark,
            seen_at=now if there else None, event_etag=etag, event_size=size,
            scheme=scheme, ordinal=ordinal, ordinal_latest=latest, newest_at=modified,
        )  # fmt: skip
        self.objects[pipeline_id, key] = self.by_id[row.id] = row

    def _merge(
        self, row: Object, now: int, lane: str, mark: bytes, etag: str | None, there: bool, size: int | None,
        scheme: str | None, ordinal: bytes | None, latest: bytes | None, modified: datetime | None,
    ) -> bool:  # fmt: skip
        """Do ``on conflict do update``. Returns False where the event is dropped."""
        if row.mark == mark or _is_older(row, scheme, latest, modified):
            return False
        leased, finished = row.state == "leased", row.state == "done"
        waiting = row.state == "pending" or row.rerun_requested
        row.verdict = "coalesced" if waiting else "replaced" if row.state == "parked" else "accepted"
        if not leased:
            row.lane, row.attempts, row.faults, row.losses, row.error = lane, 0, 0, 0, None
            row.returns, row.given_up_by = 0, None
            row.due_at = min(row.due_at, now) if row.state == "pending" else now
            row.state = "pending"
        row.rerun_requested, row.rerun_lane = leased, lane if leased else None
        row.event_at = now
        row.seen_at = now if there else row.seen_at
        row.mark = mark
        row.event_etag = etag if finished or row.event_etag == etag else None
        row.event_size = size
        if scheme is not None:
            row.ordinal = greatest(row.ordinal, ordinal) if scheme == row.scheme else ordinal
            row.scheme = scheme
        row.ordinal_latest = latest
        row.newest_at = greatest(row.newest_at, modified)
        return True

    def _dropped(self, pipelines: Sequence[int], keys: Sequence[str], marks: Sequence[bytes]) -> Iterable[SimulatedRow]:
        for pipeline_id, key, mark in zip(pipelines, keys, marks, strict=True):
            row = self.objects[pipeline_id, key]
            yield SimulatedRow(pipeline_id=pipeline_id, key=key, duplicate=row.mark == mark)

    def _quarantine(self, *columns: Sequence[Any]) -> None:
        for source, _reason, _raw, digest, times in zip(*columns, strict=True):
            self.quarantine[source, digest] += times

    def _count(
        self, _shard: int, pipelines: Sequence[int], names: Sequence[str], values: Sequence[int], _due: str
    ) -> None:
        for pipeline_id, name, value in zip(pipelines, names, values, strict=True):
            self.tally[pipeline_id, name] += value

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _claim(
        self, pipeline_id: int, lane: str, most: int, worker_id: int | None, lease_seconds: float, lag_seconds: float,
        per_slot: int, second_opinion_seconds: float, definition: int | None,
    ) -> Iterable[SimulatedRow]:  # fmt: skip
        now = self.clock()
        late = now - micros(second_opinion_seconds)
        due = [
            row
            for row in self.objects.values()
            if row.pipeline_id == pipeline_id and row.lane == lane and row.state == "pending" and row.due_at <= now
            and (None in (row.given_up_by, worker_id) or row.given_up_by != worker_id or row.due_at <= late
                 or "second-opinion" in self.without)
        ]  # fmt: skip
        if worker_id is not None:
            most = self._room(worker_id, most, per_slot)
        for row, token in self._choice(due, most):
            row.state, row.worker_id, row.token, row.leased_at = "leased", worker_id, token, now
            row.deadline, row.definition = now + micros(lease_seconds), definition
            row.attempts = min(row.attempts + 1, _MOST_ATTEMPTS)
            if "mark" in self.without and lane == "work" and row.event_etag:
                row.done_etag = row.event_etag
            believed = now >= greatest(row.event_at, row.done_at) + micros(lag_seconds)
            yield SimulatedRow(
                id=row.id, token=token, key=row.key, attempts=row.attempts, event_etag=row.event_etag,
                newest_at=row.newest_at, publish_started=row.publish_started,
                done_etag=None if row.publish_started else row.done_etag,
                done_modified=row.done_modified, believed=believed,
            )  # fmt: skip

    def _room(self, worker_id: int, most: int, per_slot: int) -> int:
        """How many more leases a worker may have, ``most`` of them now. Each has one slot."""
        if worker_id not in self.ready:
            return 0
        if "lease-cap" in self.without:
            return most
        held = sum(row.state == "leased" and row.worker_id == worker_id for row in self.objects.values())
        return min(most, max(per_slot - held, 0))

    def _choice(self, due: list[Object], most: int) -> list[tuple[Object, int]]:
        """Objects to lease and their tokens. Of objects due at the same moment PostgreSQL may choose any."""
        due.sort(key=lambda row: (row.due_at, row.id))
        if self.chosen is None:
            first = self.last_token + 1
            self.last_token += len(due[:most])
            return [(row, first + number) for number, row in enumerate(due[:most])]
        chosen, self.chosen = [(self.by_id[id], token) for id, token in self.chosen], None
        assert len(chosen) == min(most, len(due)), "another number of leases"
        assert sorted(row.due_at for row, _ in chosen) == [row.due_at for row in due[:most]], "not those due longest"
        assert all(row in due for row, _ in chosen), "what is not due was leased"
        tokens = sorted(token for _, token in chosen)
        assert tokens == list(range(self.last_token + 1, self.last_token + 1 + len(chosen))), "tokens"
        self.last_token += len(chosen)
        return chosen

    def _leased(self, row: Object) -> SimulatedRow:
        assert row.leased_at is not None
        return SimulatedRow(
            id=row.id, pipeline_id=row.pipeline_id, key=row.key, lane=row.lane, attempts=row.attempts,
            faults=row.faults, losses=row.losses, returns=row.returns, worker_id=row.worker_id,
            given_up_by=row.given_up_by, rerun_requested=row.rerun_requested, rerun_lane=row.rerun_lane,
            event_etag=row.event_etag,
            done_etag=row.done_etag, asked_after_seconds=(row.leased_at - row.event_at) / 1e6,
            unseen_seconds=None if row.seen_at is None else (row.leased_at - row.seen_at) / 1e6,
            event_age_seconds=(self.clock() - row.event_at) / 1e6,
        )  # fmt: skip

    def _lock_leased(
        self, ids: Sequence[int], tokens: Sequence[int], workers: Sequence[int | None]
    ) -> Iterable[SimulatedRow]:
        found = []
        for position, (id, token, worker_id) in enumerate(zip(ids, tokens, workers, strict=True), 1):
            row = self.by_id.get(id)
            if row is None or row.state != "leased":
                continue
            same_worker = row.worker_id == worker_id or "worker" in self.without
            if (row.token == token and same_worker) or "token" in self.without:
                found.append((row, position))
        for row, position in sorted(found, key=lambda item: (item[0].pipeline_id, item[0].key.encode(), item[1])):
            yield SimulatedRow(self._leased(row), position=position)

    def _lock_expired(self, most: int) -> Iterable[SimulatedRow]:
        now = self.clock()
        late = [row for row in self.objects.values() if row.state == "leased" and (row.deadline or 0) < now]
        late.sort(key=lambda row: (row.deadline, row.id))
        return [self._lost(row) for row in late[:most]]

    def _lock_of_worker(self, worker_id: int) -> Iterable[SimulatedRow]:
        mine = [row for row in self.objects.values() if row.state == "leased" and row.worker_id == worker_id]
        mine.sort(key=lambda row: (row.pipeline_id, row.key.encode()))
        return [self._lost(row) for row in mine]

    def _lost(self, row: Object) -> SimulatedRow:
        assert row.deadline is not None
        assert row.leased_at is not None
        lasted_seconds = (row.deadline - row.leased_at) / 1e6
        in_handler = self._in_handler(row)
        return SimulatedRow(
            _without(self._leased(row), "key"),
            event_size=row.event_size,
            lasted_seconds=lasted_seconds,
            in_handler=in_handler,
        )

    def _in_handler(self, row: Object) -> str:
        report = None if row.worker_id is None else self.handling.get(row.worker_id)
        if "in-handler" in self.without:
            return "alone"
        if report is None:
            return "possible"
        if row.token in report.tokens:
            return "alone" if report.alone else "reported"
        on_trial = any(
            other.state == "leased" and other.worker_id == row.worker_id and other.token in report.tokens
            for other in self.objects.values()
        )
        return "no" if report.alone and (on_trial or "trial-lives" in self.without) else "possible"

    def _active(self, id: int, tokens: Sequence[int], alone: bool, number: int | None, _result: bool) -> None:
        if number is not None:
            self._report_handling(id, tokens, alone, number)

    def _report_handling(self, id: int, tokens: Sequence[int], alone: bool, number: int) -> None:
        known = self.handling.get(id)
        if id in self.ready and (known is None or (known.number or 0) < number):
            self.handling[id] = HandlingReport(number, list(tokens), alone)

    def _settle(
        self, shard: int, pipelines: Sequence[int], names: Sequence[str], values: Sequence[int], due: str, rows: str
    ) -> None:
        now = self.clock()
        for settled in json.loads(rows):
            self._settle_one(self.by_id[settled["id"]], now, settled)
        self._count(shard, pipelines, names, values, due)

    def _settle_one(self, row: Object, now: int, settled: dict[str, Any]) -> None:
        forget, restart = settled["forget"], settled["restart"]
        modified = datetime.fromisoformat(text) if (text := settled.get("done_modified")) else None
        row.state, row.lane = settled["state"], settled["lane"]
        row.due_at = now + micros(settled["delay_seconds"])
        row.attempts = min(settled["attempts"], _MOST_ATTEMPTS)
        row.faults = min(settled["faults"], _MOST_ATTEMPTS)
        row.losses = min(settled["losses"], _MOST_ATTEMPTS)
        row.returns = min(settled.get("returns", 0), _MOST_ATTEMPTS)
        row.given_up_by = settled.get("given_up_by")
        row.rerun_requested, row.rerun_lane, row.worker_id, row.deadline = False, None, None, None
        row.error = settled.get("error")
        row.publish_started = row.publish_started and settled.get("done_etag") is None
        if settled["seen"]:
            row.seen_at = greatest(row.seen_at, row.leased_at)
        if forget or settled.get("done_etag") is not None:
            row.done_by = None if forget else settled["done_by"]
            row.done_verdict = None if forget else settled.get("done_verdict")
        row.done_etag = None if forget else coalesce(settled.get("done_etag"), row.done_etag)
        row.done_modified = None if forget else modified or row.done_modified
        row.done_at = now if settled["finished"] else row.done_at
        row.published = None if forget else settled.get("published", row.published)
        if forget and not restart:
            row.newest_at = row.scheme = row.ordinal = row.event_etag = None
        elif row.state == "done" and modified is not None:
            row.newest_at = modified
        else:
            row.newest_at = greatest(row.newest_at, modified)

    def _extend(
        self, id: int, token: int, worker_id: int | None, lease_seconds: float, limit_seconds: float, rate: float
    ) -> Iterable[SimulatedRow]:
        if (row := self._live_lease(id, token, worker_id)) is not None:
            assert row.leased_at is not None
            now, last = self.clock(), row.leased_at + micros(limit_seconds + (row.event_size or 0) / rate)
            if last > now or "longest-life" in self.without:
                row.deadline = now + micros(lease_seconds)
                if "longest-life" not in self.without:
                    row.deadline = min(row.deadline, last)
                yield SimulatedRow(rerun_requested=row.rerun_requested, left_seconds=(row.deadline - now) / 1e6)

    def _lease(self, id: int, token: int, worker_id: int | None) -> Iterable[SimulatedRow]:
        if (row := self._live_lease(id, token, worker_id)) is not None:
            yield self._lease_row(row)

    def _publishing(self, id: int, token: int, worker_id: int | None) -> Iterable[SimulatedRow]:
        if (row := self._live_lease(id, token, worker_id)) is not None:
            row.publish_started = "publish-started" not in self.without
            yield self._lease_row(row)

    def _seal(self, id: int, token: int, worker_id: int, hold_seconds: float) -> Iterable[SimulatedRow]:
        row = self._live_lease(id, token, worker_id)
        if row is not None and row.lane != "check":
            row.worker_id = None
            row.deadline = greatest(row.deadline, self.clock() + micros(hold_seconds))
            yield self._lease_row(row)

    def _vanish(self, id: int, token: int, lag_seconds: float, hold_seconds: float) -> Iterable[SimulatedRow]:
        row = self.by_id.get(id)
        if row is None or (row.state, row.lane, row.token) != ("leased", "check", token):
            return
        assert row.leased_at is not None
        late = row.seen_at is None or row.leased_at >= row.seen_at + micros(lag_seconds)
        if late or "first-404" in self.without:
            row.publish_started = True
            row.deadline = self.clock() + micros(hold_seconds)
            yield SimulatedRow(published=text_of(row.published))

    def _lease_row(self, row: Object) -> SimulatedRow:
        assert row.deadline is not None
        return SimulatedRow(
            id=row.id, pipeline_id=row.pipeline_id, key=row.key, token=row.token, published=text_of(row.published),
            held_seconds=(self.clock() - (row.leased_at or 0)) / 1e6, left_seconds=(row.deadline - self.clock()) / 1e6,
            definition=row.definition,
        )  # fmt: skip

    def _live_lease(self, id: int, token: int, worker_id: int | None) -> Object | None:
        row = self.by_id.get(id)
        if row is None or row.state != "leased" or row.token != token:
            return None
        return row if row.worker_id == worker_id or "worker" in self.without else None

    # ── parked objects ──────────────────────────────────────────────────────────────────────────────────────────────

    def _parked_page(self, *arguments: Any) -> Iterable[SimulatedRow]:
        """Only the query of a redrive of all parked objects."""
        assert all(argument is None for argument in arguments[:-1])
        parked = [row for row in self.objects.values() if row.state == "parked"]
        parked.sort(key=lambda row: (-row.due_at, -row.id))
        for row in parked[: arguments[-1]]:
            error = row.error or {}
            yield SimulatedRow(
                id=row.id, pipeline="photos", bucket="photos-in", key=row.key, attempts=row.attempts,
                parked_at=moment(row.due_at), reason=error.get("reason", ""), message=error.get("message", ""),
            )  # fmt: skip

    def _lock_parked(self, ids: Sequence[int]) -> Iterable[SimulatedRow]:
        rows = [row for row in self.objects.values() if row.id in ids and row.state == "parked"]
        rows.sort(key=lambda row: (row.pipeline_id, row.key.encode()))
        return [SimulatedRow(id=row.id, pipeline_id=row.pipeline_id) for row in rows]

    def _redrive(self, ids: Sequence[int]) -> None:
        for id in ids:
            row = self.by_id[id]
            row.state, row.due_at, row.attempts, row.faults = "pending", self.clock(), 0, 0
            row.returns, row.given_up_by = 0, None

    def _forget(self, ids: Sequence[int]) -> None:
        for id in ids:
            self.by_id[id].state, self.by_id[id].due_at = "forgotten", self.clock()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _due(self, pipelines: Sequence[int], lane: str) -> Iterable[SimulatedRow]:
        now = self.clock()
        waiting = {
            row.pipeline_id
            for row in self.objects.values()
            if row.lane == lane and row.state == "pending" and row.due_at <= now
        }
        return [SimulatedRow(id=number) for number in pipelines if number in waiting]

    def _balance(self) -> Iterable[SimulatedRow]:
        yield SimulatedRow(zip(("events", "changes"), self.balance(), strict=True))

    def balance(self) -> tuple[int, int]:
        """Events and changes that are unaccounted for."""
        total: Counter[str] = Counter()
        for (_, name), value in self.tally.items():
            total[name] += value
        standing = sum(
            (row.state in ("pending", "leased", "parked")) + row.rerun_requested for row in self.objects.values()
        )
        verdicts = ("accepted", "coalesced", "duplicate", "stale", "ignored", "quarantined")
        ended = ("done", "unchanged", "superseded", "gone", "forgotten")
        return (
            total["received"] - sum(total[name] for name in verdicts),
            total["accepted"] + total["recheck"] - sum(total[name] for name in ended) - standing,
        )


def _is_older(row: Object, scheme: str | None, latest: bytes | None, modified: datetime | None) -> bool:
    """``ContentVersion.is_older_than`` as ``record`` implements it in SQL."""
    if row.scheme is None and scheme is None:
        newest = row.newest_at
        return modified is not None and newest is not None and modified < newest.replace(microsecond=0)
    return row.scheme == scheme and latest is not None and row.ordinal is not None and latest < row.ordinal


def _without(row: SimulatedRow, name: str) -> SimulatedRow:
    return SimulatedRow({key: value for key, value in row.items() if key != name})
