"""Counts what machines cost, and decides whether another one may be rented within the day's budget.

A machine costs from its intent until the provider's list no longer shows it. What it has cost is added to the table
``spending`` by the day (UTC) on which it was spent, now and then while the list shows it, and always before its price
changes or it is gone. What is not added yet is bound: no budget takes it for left.
All amounts are exact: PostgreSQL's ``numeric`` and Python's ``Decimal``, never a float.

What may still be spent is decided in the transaction that writes the intent, from the ledger alone::

    spent today + the most that all machines that live can still cost + the same of the new one ≤ budget

The most that a machine can still cost is its price over its ``reserve_seconds``: the time until it is gone at the
latest once it has to go, also where the control plane is lost in that very moment. So a crash, a second replica or a
provider that destroys slowly cannot exceed the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from webhook.ledger.machines import ENDED_NOW, SLAYING_SECONDS, Budget, LastSigns, SpendingToday, Terms
from webhook.ledger.queries import QUERIES

if TYPE_CHECKING:
    from webhook.ledger.database import Connection
    from webhook.ledger.ledger import Ledger

FREE = Terms()
UNLIMITED = Budget()
_HOUR_SECONDS = Decimal(3600)
_SHARE_DIGITS = 12
"""After the point, of an average, which a division may leave without an end."""


async def affords(connection: Connection, pool: str, terms: Terms, budget: Budget) -> bool:
    """Whether one more machine at these terms can be had within the budget.

    Holds the lock of all budgets until the transaction ends: the intent has to be written in it.
    """
    if budget == UNLIMITED:
        return True
    await connection.execute(QUERIES["lock_budget"])
    left = (await spending_today(connection, pool)).left(budget)
    return left is None or left >= reserve_usd(terms)


def reserve_usd(terms: Terms) -> Decimal:
    """What has to be left for a machine, in US dollars.

    The most that it costs if it has to go as soon as it is ordered, and for its ``spare_seconds`` beside.
    """
    return terms.usd_once + terms.usd_per_hour * (terms.reserve_seconds + terms.spare_seconds) / _HOUR_SECONDS


async def spending_today(connection: Connection, pool: str) -> SpendingToday:
    """What was spent today (UTC), and what machines can still cost. Writes nothing: each intent asks."""
    row = await connection.fetchrow(QUERIES["spending_today"], pool, SLAYING_SECONDS)
    assert row is not None, "aggregates have one row"
    return SpendingToday(**row)


async def spend_once(connection: Connection, pool: str, provider: str, usd: Decimal) -> None:
    """Add what is paid once for a machine, in US dollars."""
    if usd > 0:
        await connection.execute(QUERIES["spend_once"], pool, provider, usd)


async def reprice(connection: Connection, id: int, usd_per_hour: Decimal) -> bool:
    """Change the price of a machine, from now on. Returns whether it is another one."""
    await accrue(connection, [id])
    return await connection.fetchval(QUERIES["reprice"], id, usd_per_hour) is not None


async def accrue(connection: Connection, ids: Sequence[int] | None = None, ended: LastSigns = ENDED_NOW) -> None:
    """Add what machines (or some of them) have cost since the last time to what was spent: until now, or their end."""
    await connection.execute(QUERIES["accrue"], ids, ended.unlisted_seconds, ended.orphan_seconds, ended.boot_seconds)


@dataclass(frozen=True, slots=True)
class CostsToday:
    """What was spent today (UTC), in US dollars, and on how many results."""

    by_pool: Mapping[str, Mapping[str, Decimal]]
    """By pool and phase: all of it."""
    work: Mapping[str, Decimal]
    """On work, by pipeline: failed attempts included."""
    results: Mapping[str, int]
    """By pipeline."""

    def per_result(self, pipeline: str) -> Decimal | None:
        """What a result of a pipeline has cost in work, on average. None: there is none, or nothing was paid for it."""
        work, results = self.work.get(pipeline), self.results.get(pipeline, 0)
        return round(work / results, _SHARE_DIGITS) if work and results else None


async def costs_today(ledger: Ledger) -> CostsToday:
    """Read what was spent today (UTC), up to the last time that it was added up."""
    by_pool: dict[str, dict[str, Decimal]] = {}
    work: dict[str, Decimal] = {}
    for row in await ledger.fetch("spent_today"):
        pool, pipeline = by_pool.setdefault(row["pool"], {}), row["pipeline"]
        pool[row["phase"]] = pool.get(row["phase"], Decimal(0)) + row["usd"]
        if row["phase"] == "work":
            work[pipeline] = work.get(pipeline, Decimal(0)) + row["usd"]
    results = {row["pipeline"]: row["results"] for row in await ledger.fetch("results_today")}
    return CostsToday(by_pool, work, results)
