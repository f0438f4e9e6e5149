"""What the autoscaler needs of the ledger, and how many machines a pool may have."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from webhook.ledger.machines import Demand, Intent, Machine, MachineState
from workers.protocol import MAX_LEASES, MAX_WAIT_SECONDS

MAX_LIMIT = 1_000
"""Machines in one pool, whatever its policy says."""
DAY_SECONDS = 86_400.0

_POOL = re.compile(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPolicy:
    """How many machines of one kind there may be, and how long each may take for what.

    Raises:
        ValueError: a field is out of range, or two contradict each other; it names them.

    """

    name: str
    """Lower case letters, digits and inner hyphens, at most 24: it is part of machines' labels."""
    provider: str
    """Name of the provider that mints its machines."""
    url: str
    """Where its machines find the control plane."""
    limit: int = 20
    """Machines at most, intents and those being slain included. 0 empties the pool."""
    minimum: int = 0
    """Machines to keep however little there is to do."""
    slots: int = 1
    """Objects that one machine handles at once."""
    idle_seconds: float = 300.0
    """A surplus machine without a lease for so long is drained and slain."""
    mint_seconds: float = 30.0
    """A provider that has not accepted an order after so long has failed."""
    boot_seconds: float = 300.0
    """From intent to calling home; then it is slain and another minted."""
    silent_seconds: float = 120.0
    """A ready or draining machine that has not called for so long is lost: it is slain."""
    drain_seconds: float = 900.0
    """A draining machine that still holds leases after so long is slain."""
    orphan_seconds: float = 600.0
    """What a worker is told: leave after so long without an answer from the control plane."""
    breaker_failures: int = 3
    """Failed starts in a row that stop minting."""
    breaker_seconds: float = 60.0
    """Minting stops for so long; then one machine is tried."""

    def __post_init__(self) -> None:
        if not _POOL.fullmatch(self.name):
            raise ValueError(f"pool {self.name!r}: name must match {_POOL.pattern}")
        self._check_counts()
        self._check_seconds()

    def _check_counts(self) -> None:
        self._require(0 <= self.limit <= MAX_LIMIT, f"limit must be between 0 and {MAX_LIMIT}")
        self._require(0 <= self.minimum <= self.limit, "minimum may not be more than limit, nor negative")
        self._require(1 <= self.slots <= MAX_LEASES, f"slots must be between 1 and {MAX_LEASES}")
        self._require(self.breaker_failures >= 1, "breaker_failures must be at least 1")

    def _check_seconds(self) -> None:
        for name in ("idle", "mint", "boot", "silent", "drain", "orphan", "breaker"):
            value = getattr(self, f"{name}_seconds")
            self._require(0 < value < math.inf, f"{name}_seconds must be finite and more than 0")
        self._require(self.mint_seconds < self.boot_seconds, "mint_seconds must be less than boot_seconds")
        self._require(
            self.silent_seconds > MAX_WAIT_SECONDS,
            f"silent_seconds must be more than {MAX_WAIT_SECONDS:g}: a worker in the longest poll is silent",
        )

    def _require(self, true: bool, otherwise: str) -> None:
        if not true:
            raise ValueError(f"pool {self.name!r}: {otherwise}")


class Fleet(Protocol):
    """The ledger's side. Every method is one transaction and may be called by several replicas at once.

    Raises only errors of the ledger itself (it is gone, a timeout): the autoscaler tries again at its next
    tick. Each change of state names the states it starts from; from any other it changes nothing and returns
    False.
    """

    async def demand(self, pool: str, most: int) -> Demand:
        """What there is to do for ``pool``; ``pending`` is counted up to ``most``, whatever the backlog."""
        ...

    async def machines(self) -> Sequence[Machine]:
        """Every machine that was intended and is not gone, of all pools and providers, configured or not.

        One consistent snapshot, which shows every intent that was committed before the call. Workers that people
        started themselves have a provider of their own, which the autoscaler leaves alone: see its ``by_hand``.
        """
        ...

    async def intend(self, pool: str, provider: str, limit: int) -> Intent | None:
        """Write the intent to mint one machine, labelled by :func:`new_label`. Committed when this returns.

        None, and nothing written, where ``pool`` has ``limit`` machines that are not gone, whatever their
        provider and state. Counted in the same transaction under a lock of the pool: no number of callers
        exceeds it.
        """
        ...

    async def minted(self, id: int, ref: str) -> bool:
        """Remember the provider's name for it; ``intended`` becomes ``booting``, other states but gone stay.

        A machine may call home before this is called, and is then ready already.
        """
        ...

    async def drain(self, id: int) -> bool:
        """``ready`` becomes ``draining``: from this commit on it gets no more leases and is told to leave."""
        ...

    async def slaying(self, id: int, reason: str, seen: MachineState) -> bool:
        """``seen`` becomes ``slaying``: its tokens are revoked, its leases taken back.

        Each lease counts as an attempt, after which the object waits: one that kills its worker must be parked some
        day, not handed to one machine after the other.

        False where it is no longer in the state in which it was judged: it called home just now, say.
        """
        ...

    async def gone(self, id: int) -> bool:
        """``slaying`` becomes ``gone``. It no longer counts."""
        ...


def worker_idle_seconds(idle_seconds: float, minimum: int) -> float:
    """What a worker of a pool is told: leave by itself after so long without a lease.

    Longer than the autoscaler waits, which is to decide as long as it lives; a day where some are always kept.
    """
    return DAY_SECONDS if minimum else 2 * idle_seconds + 60
