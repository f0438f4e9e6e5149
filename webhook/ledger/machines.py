"""Machine records of the ledger: states, labels, demand and reports.

A machine's row goes one way only::

    intended ──minted──▶ booting ──hello──▶ ready ──drain──▶ draining
        │                   │                 │                 │
        └───────────────────┴────── slaying ──┴─────────────────┘──▶ gone

The row is written before the provider is asked (an *intent* with a label that is used once), and it stays until the
provider's own list no longer shows the label. So a crash at any point leaves either a row or a labelled machine, and
each leads to the other.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

SLAYING_SECONDS = 300
"""A provider that was asked to destroy a machine may take so long until it costs nothing any more."""
_OWNER = re.compile(r"[a-z0-9]{1,16}")
_POOL = re.compile(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?")
_INSTALLATION = re.compile(r"[0-9a-f]{8}")
_OF_INSTALLATION = re.compile(r".+-([0-9a-f]{8})[0-9a-f]{12}")


class MachineState(StrEnum):
    """State of a machine, from its intent until it is gone."""

    INTENDED = "intended"
    """The intent is recorded; the provider may or may not have been called."""
    BOOTING = "booting"
    """The provider has accepted it; it has not called home."""
    READY = "ready"
    """It has called home."""
    DRAINING = "draining"
    """It gets no more leases and finishes those it has."""
    SLAYING = "slaying"
    """Its token is revoked; the provider is called to destroy it until its list no longer shows it."""
    GONE = "gone"
    """The provider's list no longer shows it."""


class Cause(StrEnum):
    """Why a machine is minted, in the order in which reasons are looked at. All but the first are ahead of the work."""

    DEMAND = "demand"
    """Objects wait for it."""
    MINIMUM = "minimum"
    """The pool's ``minimum``."""
    SCHEDULE = "schedule"
    """A window of the pool's ``schedules``."""
    WAKE = "wake"
    """A call of the pool's wake endpoint."""
    LEARNED = "learned"
    """Work is likely, by what arrived in earlier weeks."""


_STATES = {str(state): state for state in MachineState}


START_PHASES = (
    "rented", "booted", "process", "weights", "load", "first_result", "service_weights", "service_ready",
)  # fmt: skip
"""Steps of a machine's cold start, in their order: of one that works on objects, or serves, the last two."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one pool has to do: objects to process, requests of services to serve."""

    pending: int
    """Objects due now (not those that wait for a later retry) and not leased; counted up to a cap."""
    leased: int
    """Objects that are leased now, by machines of any state; of each only as many as it has slots."""
    machines: int = 0
    """Machines that its services need beside: for requests that wait or are under way, and those kept for a while."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How many machines callers of a pool's wake endpoint want it to have now."""

    machines: int
    now: datetime
    """The database's time."""


@dataclass(frozen=True, slots=True)
class Woken:
    """What has become of the wishes for a pool."""

    machines: int
    """The greatest wish that holds."""
    seconds: float
    """For which it still holds."""
    ready: int
    """Machines that have called home."""
    starting: int
    """Machines that will."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine that is not gone. Ages come from the database's clock, in seconds.

    The fields stand in the order of the columns of the statement ``machines``.
    """

    id: int
    label: str
    pool: str
    provider: str
    ref: str | None
    """The provider's own name for it, where known."""
    state: MachineState
    age_seconds: float
    """Since the intent."""
    state_seconds: float
    """Since it came into its present state."""
    leased: int
    """Leases that it holds."""
    idle_seconds: float
    """Since its last lease or request ended, or else since it was ready. 0 while it has one, and before ready."""
    silent_seconds: float
    """Since its last authenticated call, or else since the intent."""
    reason: str | None = None
    """Why it is being slain."""
    machine: str = ""
    """The provider's name for the physical machine; empty: not known."""
    host: str = ""
    """The provider's name for who runs it; empty: not known."""
    usd_per_hour: Decimal = Decimal(0)
    """What it costs."""
    serving: int = 0
    """Requests of a service that it may be working on."""
    keep_seconds: float | None = None
    """For which it is kept idle, by its service; None: by its pool."""

    @property
    def busy(self) -> int:
        """Objects and requests that it may be working on."""
        return self.leased + self.serving


def machine_of(row: Iterable[Any]) -> Machine:
    """Make a machine of a row of the statement ``machines``.

    By position, and the state by its name: a thousand rows are read several times in a turn of the autoscaler.
    """
    id, label, pool, provider, ref, state, *rest = row
    return Machine(id, label, pool, provider, ref, _STATES[state], *rest)


@dataclass(frozen=True, slots=True)
class LastSigns:
    """When a machine that is gone must have ended: it costs until then. In seconds."""

    unlisted_seconds: float = 0.0
    """Since the first of the provider's lists that lacked it."""
    orphan_seconds: float | None = None
    """After its last call, when it has ended itself at the latest; None: it may have gone on."""
    boot_seconds: float | None = None
    """After its intent, when it has ended itself if it never called; None: the same."""


ENDED_NOW = LastSigns()
"""Of a machine of which no more is known than that it is gone."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a machine is rented at, and where. Amounts in US dollars, exact."""

    usd_per_hour: Decimal = Decimal(0)
    """Machine and disk."""
    usd_once: Decimal = Decimal(0)
    """What is paid once: traffic."""
    reserve_seconds: int = 0
    """The longest time for which it may still cost once it has been decided that it has to go."""
    offer: str = ""
    machine: str = ""
    host: str = ""
    spare_seconds: int = 0
    """For which the budget has to carry it beyond that, or it is not worth renting. Not recorded."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be spent in one day (UTC), in US dollars; None: no limit."""

    pool_usd: Decimal | None = None
    """By the pool."""
    all_usd: Decimal | None = None
    """By all pools together."""


@dataclass(frozen=True, slots=True)
class SpendingToday:
    """What was spent today (UTC) and what is bound to be, in US dollars: by one pool, and by all."""

    pool_spent: Decimal
    all_spent: Decimal
    pool_bound: Decimal
    """What its machines have cost beside that, and the most that they still can if all of them had to go now."""
    all_bound: Decimal

    def left(self, budget: Budget) -> Decimal | None:
        """What may still be bound; below 0: too much is. None: there is no budget."""
        pool = None if budget.pool_usd is None else budget.pool_usd - self.pool_spent - self.pool_bound
        all_pools = None if budget.all_usd is None else budget.all_usd - self.all_spent - self.all_bound
        return min((left for left in (pool, all_pools) if left is not None), default=None)


class NotIntended(StrEnum):
    """Why no intent was written."""

    LIMIT = "limit"
    """The pool has as many machines as its limit allows."""
    BUDGET = "budget"
    """The machine could cost more than the day's budget has left."""


@dataclass(frozen=True, slots=True)
class Intent:
    """The right to mint one machine, already counted in its pool's limit."""

    id: int
    label: str
    token: str = field(repr=False)
    """One-time token that the machine calls home with. Stored hashed; this is the only copy."""


def new_label(owner: str, pool: str, installation: str = "") -> str:
    """Make a unique label for a machine: ``{owner}-{pool}-{installation}{12 hex digits}``, a DNS label of at most 62.

    ``owner`` names this installation among others that use the same account or host: its providers list what
    begins with ``{owner}-``, and listed machines without a row in the ledger are slain. Lower case letters and
    digits, at most 16. ``installation`` is the id of the ledger, eight hex digits, by which two installations of one
    name notice each other (`installation_of`); empty: as labels were before there were ids.

    Raises:
        ValueError: owner, pool or installation is not of that form.

    """
    if not _OWNER.fullmatch(owner):
        raise ValueError(f"owner {owner!r} must match {_OWNER.pattern}")
    if not _POOL.fullmatch(pool):
        raise ValueError(f"pool {pool!r} must match {_POOL.pattern}")
    if installation and not _INSTALLATION.fullmatch(installation):
        raise ValueError(f"installation {installation!r} must match {_INSTALLATION.pattern}")
    return f"{owner}-{pool}-{installation}{secrets.token_hex(6)}"


def installation_of(label: str) -> str:
    """The id of the installation that made a label; empty: it was made before there were ids."""
    found = _OF_INSTALLATION.fullmatch(label)
    return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A machine of another installation of the same name, as a provider lists it."""

    label: str
    ref: str
    """The provider's own name for it."""


@dataclass(frozen=True, slots=True)
class HandlingReport:
    """What is in a worker's handler, as the worker reports it."""

    number: int | None
    """Grows with every report; None: there is none."""
    tokens: Sequence[int]
    """Fencing tokens of the leases in the handler."""
    alone: bool
    """Nothing else enters the handler before the next report."""


@dataclass(frozen=True, slots=True)
class PoolReport:
    """State of minting for one pool, as the leading replica reports it."""

    breaker: str = "closed"
    """``closed``; ``open``: nothing is minted after failed starts; ``probing``: one machine at a time."""
    frozen: bool = False
    """The provider's list fails or cannot be true: nothing is minted, and no machine is taken for gone."""
    failed_starts: int = 0
    """Machines that were not accepted, or did not call home in time."""
    last_failure: str = ""
    """Why the last start failed."""
    last_boot_log: str = ""
    """Where the last machine that did not call home has its log, and the log's end."""
    not_minted: str = ""
    """Why nothing is minted though there is work; empty: it is, or there is none."""


@dataclass(frozen=True, slots=True)
class ProviderReport:
    """Failures and findings of one provider's lists."""

    list_failures: int = 0
    """Lists that failed."""
    unknown_slain: int = 0
    """Machines slain that the ledger did not know."""
    last_error: str = ""
    """Why the last list failed."""
