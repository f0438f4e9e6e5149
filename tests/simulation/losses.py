"""Checks what the loss of a worker costs the objects that it had at work.

A file may end its worker while it is fetched, in its handler, or while its outputs are published. It has to be
suspected of that, then charged and in the end parked; no other object may be charged for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.process import SimulatedProcess
from tests.simulation.world import BrokenInvariant

CHARGED = "a lost worker costs only what was alone at work"
SUSPECTED = "a file that ends its worker is suspected of that"


@dataclass
class WorkerLosses:
    """Observes leases at work, reports and the leases that are taken back."""

    agents: dict[int, SimulatedProcess] = field(default_factory=dict)
    """Process of each worker."""
    _at_work: dict[int, SimulatedProcess] = field(default_factory=dict)
    """Tokens of leases that are being worked on, and whose process does. Those of a process that died stay."""
    _in_company: set[int] = field(default_factory=set)
    """Tokens of leases beside which another was at work in their process."""
    _killers: set[int] = field(default_factory=set)
    """Tokens of leases whose content has ended their process."""
    _taken_back: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Attempts and weight of losses of the objects whose leases are being taken back, by id."""

    def works(self, process: SimulatedProcess, token: int) -> None:
        """Observe a step of the work on a lease."""
        if beside := self._beside(process) - {token}:
            self._in_company |= beside | {token}
        self._at_work[token] = process

    def ends(self, token: int) -> None:
        """Observe the end of the work on a lease."""
        self._at_work.pop(token, None)

    def kills(self, token: int) -> None:
        """Observe that a lease's content ends its process."""
        self._killers.add(token)

    def reports(self, worker_id: int, tokens: Collection[int], *, alone: bool) -> None:
        """Observe a worker's report. That one works alone is true only if no other is at work."""
        if alone and self._beside(self.agents[worker_id]).difference(tokens):
            self._in_company.update(tokens)

    def taking_back(self, rows: Iterable[Any]) -> None:
        """Observe the leases that the next statement ``settle`` takes back; none, if it settles others."""
        self._taken_back = {row["id"]: (row["attempts"], row["losses"]) for row in rows if row["lane"] != "check"}

    def settled(self, row: dict[str, Any], key: str, token: int) -> bool:
        """Check what an object pays whose lease was taken back. Returns whether it is charged.

        Raises BrokenInvariant.
        """
        before = self._taken_back.get(row["id"])
        if before is None or row["restart"]:
            return False
        charged, suspected = row["attempts"] >= before[0], row["losses"] > before[1]
        if charged:
            if token in self._in_company:
                raise BrokenInvariant(CHARGED, f"{key} is charged for the loss of token {token}")
        elif token in self._killers and not suspected:
            raise BrokenInvariant(SUSPECTED, f"{key} has ended its worker under token {token}")
        return bool(charged)

    def _beside(self, process: SimulatedProcess) -> set[int]:
        return {token for token, where in self._at_work.items() if where is process}
