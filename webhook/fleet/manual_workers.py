"""Workers that a person started: nobody mints or slays them, but one that went silent gives back what it leased."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from webhook.config import Pool
from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.machines import Machine, MachineState

log = structlog.get_logger()

MANUAL = "by-hand"
"""Their provider in the ledger."""
_INVITATION_SECONDS = 24 * 3600.0
"""How long an invitation may wait to be used."""


async def forget_silent(fleet: LedgerFleet, pools: Mapping[str, Pool]) -> None:
    """One look at all of them. Raises LedgerUnavailable."""
    for machine in await fleet.machines():
        if machine.provider != MANUAL:
            continue
        if machine.state is MachineState.SLAYING or await _condemn(fleet, machine, pools.get(machine.pool, Pool())):
            await fleet.gone(machine.id)


async def _condemn(fleet: LedgerFleet, machine: Machine, pool: Pool) -> bool:
    called = machine.state in (MachineState.READY, MachineState.DRAINING)
    limit_seconds = pool.silent_seconds if called else _INVITATION_SECONDS
    if machine.silent_seconds <= limit_seconds:
        return False
    reason = "silent" if called else "invitation-expired"
    log.info("worker forgotten", worker=machine.id, label=machine.label, reason=reason)
    return await fleet.slaying(machine.id, reason, machine.state)
