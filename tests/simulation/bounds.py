"""Checks what one worker can do to the ledger: leases that it holds, their life, and what it may settle or give up."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.plane import LEASE_SECONDS, LEASE_SPANS
from tests.simulation.rows import SimulatedRow
from tests.simulation.statements import Tables
from tests.simulation.world import BrokenInvariant, World

REACHES = "a worker reaches nothing that it does not lease"
FEW_LEASES = "a worker holds few leases"
LEASES_END = "a lease ends, renewed or not"
TWO_MACHINES = "one machine's word gives no object up"
RETURNS_END = "no object is given back for ever"

_MOST_LEASES = 4
_MOST_RETURNS = 20
_SECOND_OPINION_SECONDS = 900.0
_SLACK_SECONDS = 1.0


@dataclass
class WorkerBounds:
    """Observes statements. Numbers stand here again: a guard must not be measured by itself."""

    world: World
    tables: Tables
    _holders: dict[int, int | None] = field(default_factory=dict)
    """Worker of each lease, by token; None: the control plane."""
    leased_keys: defaultdict[int | None, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By worker, keys of the objects that it was ever given a lease of."""
    _without_result: defaultdict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    """By object, workers whose leases ended without a result since it was done last, and when first."""
    _returned: Counter[int] = field(default_factory=Counter)
    """By object, leases in a row that a worker gave back uncounted."""
    _attempts: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Attempts and faults of the objects that a worker settles in the next statement ``settle``."""

    def statement(self, name: str, arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        """Observe a statement and its rows. Raises BrokenInvariant."""
        watch = getattr(self, f"_on_{name}", None)
        if watch is not None:
            watch(arguments, rows)

    def _on_claim(self, arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        worker_id = arguments[3]
        self._holders |= {row["token"]: worker_id for row in rows}
        self.leased_keys[worker_id].update(row["key"] for row in rows)
        held = sum(row.state == "leased" and row.worker_id == worker_id for row in self.tables.objects.values())
        if worker_id is not None and held > _MOST_LEASES:
            raise BrokenInvariant(FEW_LEASES, f"worker {worker_id} holds {held}")

    def _on_lease(self, arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        id, token, worker_id, *_ = arguments
        if rows:
            self._require_own(id, token, worker_id)

    _on_publishing = _on_lease

    def _on_seal(self, arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        self._on_lease(arguments, rows)
        self._holders |= {row["token"]: None for row in rows}

    def _on_extend(self, arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        self._on_lease(arguments, rows)
        row = self.tables.by_id.get(arguments[0])
        if rows and row is not None and row.worker_id is not None:
            lasts = ((row.deadline or 0) - (row.leased_at or 0)) / 1e6
            if lasts > LEASE_SPANS * LEASE_SECONDS + _SLACK_SECONDS:
                raise BrokenInvariant(LEASES_END, f"{row.key} is leased for {lasts:.0f} s under token {row.token}")

    def _on_lock_leased(self, arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        ids, tokens, workers = arguments
        self._attempts = {row["id"]: (row["attempts"], row["faults"]) for row in rows}
        for row in rows:
            at = row["position"] - 1
            self._require_own(ids[at], tokens[at], workers[at])

    def _on_lock_expired(self, _arguments: tuple[Any, ...], _rows: list[SimulatedRow]) -> None:
        self._attempts = {}

    _on_lock_of_worker = _on_lock_expired

    def _require_own(self, id: int, token: int, worker_id: int | None) -> None:
        holder = self._holders.get(token)
        if holder != worker_id:
            key = self.tables.by_id[id].key
            raise BrokenInvariant(REACHES, f"worker {worker_id} used the lease of {key} that worker {holder} has")

    def _on_settle(self, arguments: tuple[Any, ...], _rows: list[SimulatedRow]) -> None:
        for settled in json.loads(arguments[5]):
            row = self.tables.by_id[settled["id"]]
            worker_id = self._holders.get(row.token or 0)
            if settled["finished"] or settled["restart"] or settled["state"] == "gone":
                self._forget(row.id)
            elif worker_id is not None:
                self._without_result[row.id].setdefault(worker_id, self.world.now)
                self._check_parked(row.id, row.key, settled["state"])
                self._check_returned(row.id, row.key, settled)

    def _check_parked(self, id: int, key: str, state: str) -> None:
        if state != "parked" or not self.world.settings.hostile:
            return
        tried = self._without_result[id]
        if len(tried) < 2 and self.world.now - min(tried.values()) < _SECOND_OPINION_SECONDS:
            raise BrokenInvariant(TWO_MACHINES, f"{key} is parked on the word of worker {next(iter(tried))} alone")

    def _check_returned(self, id: int, key: str, settled: dict[str, Any]) -> None:
        before = self._attempts.get(id)
        if before is None or settled["faults"] > before[1] or settled["attempts"] >= before[0]:
            return
        self._returned[id] += "returns" in settled
        if self._returned[id] > _MOST_RETURNS:
            raise BrokenInvariant(RETURNS_END, f"{key} was given back {self._returned[id]} times")

    def writes(self, worker_id: int, key: str) -> None:
        """Observe that a worker writes an output of the input ``key``. Raises BrokenInvariant."""
        if key not in self.leased_keys[worker_id]:
            raise BrokenInvariant(REACHES, f"worker {worker_id} writes an output of {key}, which it never leased")

    def _on_record(self, _arguments: tuple[Any, ...], rows: list[SimulatedRow]) -> None:
        for recorded in rows:
            row = self.tables.objects[recorded["pipeline_id"], recorded["key"]]
            if row.state != "leased":
                self._returned.pop(row.id, None)

    def _on_redrive(self, arguments: tuple[Any, ...], _rows: list[SimulatedRow]) -> None:
        for id in arguments[0]:
            self._forget(id)

    _on_rework = _on_redrive

    def _forget(self, id: int) -> None:
        self._without_result.pop(id, None)
        self._returned.pop(id, None)

    def forget(self) -> None:
        """Forget all objects: the ledger was emptied."""
        self._without_result.clear()
        self._returned.clear()
