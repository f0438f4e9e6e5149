"""Machines that a pool has in a ledger without a control plane, for tests of what it would rent beside them."""

from __future__ import annotations

from decimal import Decimal

from webhook.ledger.database import Database
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.ledger import Ledger
from webhook.ledger.machines import Machine, Terms


def fleet_on(database: Database) -> LedgerFleet:
    """The fleet of an empty ledger."""
    return LedgerFleet(Ledger(database, {}), owner="yurt", pipelines=lambda _: [], slots={}, limits={})


async def rent(
    fleet: LedgerFleet, pool: str, usd_per_hour: str = "0.36", machine: str = "", provider: str = "cheap"
) -> Machine:
    """Write the intent of a machine with a reserve of an hour, for which there always is room."""
    before = {one.id for one in await fleet.machines()}
    await fleet.intend(pool, provider, 1_000, Terms(Decimal(usd_per_hour), reserve_seconds=3_600, machine=machine))
    [new] = [one for one in await fleet.machines() if one.id not in before]
    return new
