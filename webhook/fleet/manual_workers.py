"""Workers that a person started: the autoscaler leaves them alone, but the leases of silent ones are taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from webhook.ledger.fleet import LedgerFleet
from webhook.ledger.machines import Machine, MachineState
from webhook.loops import STALLED_SECONDS, LoopHealth
from webhook.pool_settings import Pool

log = structlog.get_logger()

MANUAL = "by-hand"
"""Their provider in the ledger."""
_LOOK_SECONDS = 5.0
INVITATION_SECONDS = 24 * 3600.0
"""How long an invitation for one worker may wait to be used, unless it was made for another time."""


class ManualWorkers:
    """Removes manual workers that went silent, and invitations that were never used, from the fleet."""

    def __init__(self, fleet: LedgerFleet, pools: Mapping[str, Pool], health: LoopHealth | None = None) -> None:
        self._fleet = fleet
        self._pools = pools
        self._health = health or LoopHealth()

    async def run(self) -> None:
        """Look after all of them now and then, until cancelled."""
        while True:
            with self._health.turn("manual workers", STALLED_SECONDS):
                await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Look after all of them once. Raises LedgerUnavailable."""
        await self.forget_silent()
        await self._fleet.prune_invitations()

    async def forget_silent(self) -> None:
        """Revoke the tokens of silent workers and take their leases back. Raises LedgerUnavailable."""
        for machine in await self._fleet.machines():
            if machine.provider == MANUAL and await self._is_slaying(machine):
                await self._fleet.gone(machine.id)

    async def _is_slaying(self, machine: Machine) -> bool:
        """Whether a machine is being slain already, or is now because it has been silent for too long."""
        if machine.state is MachineState.SLAYING:
            return True
        called_home = machine.state in (MachineState.READY, MachineState.DRAINING)
        pool = self._pools.get(machine.pool, Pool())
        if machine.silent_seconds <= (pool.silent_seconds if called_home else INVITATION_SECONDS):
            return False
        reason = "silent" if called_home else "invitation-expired"
        log.info("worker forgotten", worker=machine.id, label=machine.label, reason=reason)
        return await self._fleet.slaying(machine.id, reason, machine.state)
