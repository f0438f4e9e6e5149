"""What the autoscaler needs of the ledger: the interface ``Fleet``.

``webhook.ledger.fleet.LedgerFleet`` implements it on PostgreSQL; ``tests/webhook/fleet/fleet_contract.py`` holds each
implementation to what is written here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from webhook.ledger.arrivals import ArrivalHistory
from webhook.ledger.machines import (
    Budget,
    Cause,
    Demand,
    Intent,
    LastSigns,
    Machine,
    MachineState,
    NotIntended,
    PoolReport,
    ProviderReport,
    SpendingToday,
    Stranger,
    Terms,
    Wish,
)


class Fleet(Protocol):
    """The ledger's side. Every method is one transaction and may be called by several replicas at once.

    Raises only errors of the ledger itself (it is gone, a timeout): the autoscaler tries again at its next
    tick. Each change of state names the states it starts from; from any other it changes nothing and returns
    False.
    """

    async def demand(self, pool: str, most: int) -> Demand:
        """What there is to do for ``pool``; ``pending`` is counted up to ``most``: a long backlog costs no more."""
        ...

    async def machines(self) -> Sequence[Machine]:
        """Every machine that was intended and is not gone, of all pools and providers, configured or not.

        One consistent snapshot, which shows every intent that was committed before the call. Workers that a person
        started have a provider of their own, which the autoscaler leaves alone: see its ``manual``.
        """
        ...

    async def intend(
        self, pool: str, provider: str, limit: int, terms: Terms = ..., budget: Budget = ..., cause: Cause = ...
    ) -> Intent | NotIntended:
        """Write the intent to mint one machine, labelled by :func:`new_label`. Committed when this returns.

        Nothing is written where ``pool`` has ``limit`` machines that are not gone, of any provider and state, nor where
        what was spent today, what all machines can still cost, and what the new one can, exceed ``budget``. Decided in
        the same transaction under a lock: no number of callers exceeds either.
        """
        ...

    async def wished(self, pool: str) -> Wish:
        """How many machines callers want ``pool`` to have now, the greatest of all wishes, and the ledger's time."""
        ...

    async def arrivals(self, pool: str) -> ArrivalHistory:
        """When something arrived for ``pool`` in the last weeks, and how long its machines take to boot."""
        ...

    async def installation(self) -> str:
        """The id of this installation: `installation_of` every label that `intend` makes. Never another one."""
        ...

    async def note_strangers(self, provider: str, strangers: Sequence[Stranger]) -> Collection[str]:
        """Remember what ``provider`` lists of other installations of the same name, in place of what it listed before.

        Returns the labels of those among them that an operator wants slain.
        """
        ...

    async def spending_today(self, pool: str) -> SpendingToday:
        """What was spent today (UTC) up to now, and what machines can still cost: of ``pool``, and of all."""
        ...

    async def accrue(self, ids: Collection[int] | None = ...) -> None:
        """Add what machines (None: all) have cost since the last call to what was spent. To be called now and then.

        What the others have cost is added once they are gone, and bound until then.
        """
        ...

    async def reprice(self, id: int, usd_per_hour: Decimal) -> bool:
        """Note that a machine costs something else from now on. Returns whether it is another price than before."""
        ...

    async def avoid(self, machine: Machine, reason: str, seconds: float) -> None:
        """Rent the physical machine, whose name has to be known, no more for so long."""
        ...

    async def avoided(self, provider: str) -> Collection[str]:
        """Physical machines of a provider that are not to be rented now."""
        ...

    async def minted(self, id: int, ref: str) -> bool:
        """Remember the provider's name for it; ``intended`` becomes ``booting``, other states but gone stay.

        The provider has taken the order: what it costs is counted from the intent on.

        A machine may call home before this is called, and is then ready already.
        """
        ...

    async def drain(self, id: int, reason: str) -> bool:
        """``ready`` becomes ``draining``: from this commit on it gets no more leases and is told to leave."""
        ...

    async def slaying(self, id: int, reason: str, seen: MachineState) -> bool:
        """``seen`` becomes ``slaying``: its tokens are revoked, its leases taken back.

        Each lease counts as an attempt, after which the object waits: an object that kills its worker must be parked
        some day, not handed to one machine after the other.

        False where it is no longer in the state in which it was judged: it called home just now, say.
        """
        ...

    async def gone(self, id: int, signs: LastSigns = ...) -> bool:
        """``slaying`` becomes ``gone``. It no longer counts, and has cost until ``signs`` say that it had ended."""
        ...

    async def report(self, pools: Mapping[str, PoolReport], providers: Mapping[str, ProviderReport]) -> None:
        """Record how minting goes, for status and metrics: states as they are, counts on top of the earlier ones.

        Pools that are not among them are no longer minted for: their breakers count as closed.
        """
        ...
