"""Stores which machine serves which service, and how replicas of the control plane share its slots.

A machine serves one service at most, and each of its slots is one replica's: both are primary keys, so that no two
replicas give out the same. A replica's slots, tunnels and counts of requests end with its row, which it renews.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webhook.ledger.arrivals import count_requests
from webhook.ledger.leased_rows import storable
from webhook.ledger.ledger import Ledger
from webhook.ledger.queries import QUERIES
from webhook.ledger.wakeups import AUTOSCALER

if TYPE_CHECKING:
    from webhook.ledger.database import Connection

REPLICA_SECONDS = 15.0
"""What a replica holds is given to others when it was not heard of for so long."""


@dataclass(frozen=True, slots=True)
class Replica:
    """This process, as the other replicas of the control plane know it."""

    id: str
    token_hash: bytes
    """SHA-256 of the token with which it calls the others."""
    url: str
    """By which the others reach it; empty: they cannot."""


@dataclass(frozen=True, slots=True)
class ServiceLoad:
    """Requests of one service at one replica, or at all."""

    waiting: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class ServingMachine:
    """A machine that is given to a service, as one replica sees it. The fields are the columns of its statement."""

    service: str
    worker_id: int
    label: str
    pool: str
    state: str
    """``given``, ``loading``, ``starting``, ``ready`` or ``failing``."""
    message: str
    """Why it fails."""
    log: str
    """The end of its server's output, where it fails."""
    address: str
    """Where its gate is, as its worker says; empty: not known."""
    draining: bool
    held: int
    """Slots that replicas hold."""
    own_slots: Sequence[int]
    """Of these, this replica's."""
    replicas: Sequence[str]
    """At which its tunnels end."""
    urls: Sequence[str]
    """Of these, in the same order; empty: it has none."""
    unused_seconds: float
    """Since it was given, or its last slot was given back."""


@dataclass(frozen=True, slots=True)
class ReleasedSlot:
    """A slot that a replica gives back."""

    worker_id: int
    slot: int
    unused_seconds: float
    """Since its last request ended."""


@dataclass(frozen=True, slots=True)
class PoolOutlook:
    """Whether machines of a pool are to be expected."""

    not_minted: str
    """Why none is minted; empty: nothing speaks against it."""
    starting: bool
    """Whether some will call home."""


def token_hash(token: str) -> bytes:
    """What the ledger keeps of a replica's token."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


class ServiceLedger:
    """Services in the ledger. Every method raises LedgerUnavailable while the database does not answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # ── replicas ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def beat(self, replica: Replica) -> bool:
        """Note that a replica lives. False: it was not known, or for too long: what it held is not its own any more."""
        [row] = await self._ledger.fetch("beat", replica.id, replica.token_hash, replica.url, REPLICA_SECONDS)
        return bool(row["known"])

    async def forget_replica(self, replica: Replica) -> None:
        """Give everything back that a replica holds."""
        await self._ledger.fetch("forget_replica", replica.id)

    async def replica_known(self, token: str) -> bool:
        """Whether a token is one of the replicas'."""
        [row] = await self._ledger.fetch("replica_known", token_hash(token))
        return bool(row["known"])

    async def note_loads(self, replica: Replica, loads: Mapping[str, ServiceLoad]) -> None:
        """Replace what is known of a replica's requests. Services that are not named have none."""
        waiting, in_flight = [load.waiting for load in loads.values()], [load.in_flight for load in loads.values()]
        await self._ledger.fetch("note_loads", replica.id, [*loads], waiting, in_flight)

    async def count_requests(self, requests: Mapping[str, int]) -> None:
        """Add requests that have come to services to what arrives in this hour."""
        await count_requests(self._ledger, requests)

    async def wake_autoscaler(self) -> None:
        """Have the leader's autoscaler look at services' demand now."""
        await self._ledger.fetch("notify_orders", [AUTOSCALER])

    async def loads(self) -> dict[str, ServiceLoad]:
        """Requests of each service at all replicas."""
        rows = await self._ledger.fetch("service_loads")
        return {row["service"]: ServiceLoad(row["waiting"], row["in_flight"]) for row in rows}

    # ── machines ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def give(self, service: str, pool: str, concurrency: int, idle_seconds: float) -> Sequence[int]:
        """Give a service as many free machines of its pool as its requests need. Returns the workers' numbers."""

        async def write(connection: Connection) -> Sequence[int]:
            # Without the lock two replicas could both give machines for the same requests.
            await connection.execute(QUERIES["lock_pool"], pool)
            rows = await connection.fetch(QUERIES["give_machines"], [service], [concurrency], pool, idle_seconds)
            if given := [row["worker_id"] for row in rows]:
                await connection.execute(QUERIES["notify_orders"], given)
            return given

        return await self._ledger.database.transact(write)

    async def serves(self, worker_id: int) -> str:
        """Which service a worker serves; empty: none."""
        rows = await self._ledger.fetch("serves", worker_id)
        return str(rows[0]["service"]) if rows else ""

    async def report(
        self, worker_id: int, service: str, state: str, message: str = "", log: str = "", address: str = ""
    ) -> bool:
        """Note what a worker says of its server. False: it does not serve that service."""
        rows = await self._ledger.fetch(
            "report_service", worker_id, service, state, storable(message), storable(log), storable(address)
        )
        return bool(rows)

    async def note_way(self, replica: Replica, worker_id: int, service: str) -> None:
        """Note that a tunnel of a machine ends at a replica: its server takes requests."""
        await self._ledger.fetch("note_way", worker_id, replica.id, service)

    async def forget_way(self, replica: Replica, worker_id: int) -> None:
        """Note that no tunnel of a machine ends at a replica any more."""
        await self._ledger.fetch("forget_way", worker_id, replica.id)

    async def machines(
        self, replica: Replica | None = None, services: Sequence[str] | None = None
    ) -> list[ServingMachine]:
        """Every machine that is given to one of these services (None: to any), as a replica sees it."""
        rows = await self._ledger.fetch("service_machines", services, replica.id if replica else "")
        return [ServingMachine(**row) for row in rows]

    async def outlook(self, pool: str) -> PoolOutlook:
        """Whether machines of a pool are to be expected."""
        [row] = await self._ledger.fetch("pool_outlook", pool)
        return PoolOutlook(**row)

    # ── slots ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def claim_slots(
        self, replica: Replica, worker_id: int, service: str, most: int, concurrency: int
    ) -> Sequence[int]:
        """Take up to ``most`` of the ``concurrency`` slots of a machine. Returns those that are the replica's now."""
        rows = await self._ledger.fetch("claim_slots", worker_id, service, replica.id, most, concurrency)
        return [row["slot"] for row in rows]

    async def release_slots(self, replica: Replica, released: Sequence[ReleasedSlot]) -> None:
        """Give slots back."""
        await self._ledger.fetch(
            "release_slots",
            replica.id,
            [slot.worker_id for slot in released],
            [slot.slot for slot in released],
            [slot.unused_seconds for slot in released],
        )
