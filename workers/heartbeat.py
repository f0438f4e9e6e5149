"""How long a lease is ours: until its deadline, and every heartbeat that is answered moves that on.

The agent fences itself: past the deadline nothing more is published, whether or not the control plane said
so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from workers.client import ControlPlaneClient, LeaseLost
from workers.protocol import HeartbeatResponse, Lease
from workers.retry import Backoff

_log = structlog.get_logger()

_SAFETY = 0.95
"""Part of a grant that is used: clocks drift, and a request sent in the last instant arrives after it."""
_BEATS = 3
"""Heartbeats in one grant: two may fail."""


def boot_seconds() -> float:
    """A clock that goes on while the machine is suspended, where the system has one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Heartbeat:
    """The time for which one lease is held."""

    def __init__(
        self,
        lease: Lease,
        control: ControlPlaneClient,
        *,
        longest_beat_seconds: float,
        clock: Callable[[], float] = boot_seconds,
    ) -> None:
        """``longest_beat_seconds``: a heartbeat at least so often, however long the lease."""
        self._lease = lease
        self._control = control
        self._clock = clock
        self._longest_beat_seconds = longest_beat_seconds
        self._grant(clock(), lease.lease_seconds)

    @property
    def left_seconds(self) -> float:
        """Until the deadline; negative when it has passed."""
        return self._deadline - self._clock()

    def check(self) -> None:
        """Raise `LeaseLost` past the deadline. To be called right before anything is published."""
        if self.left_seconds <= 0:
            raise LeaseLost("The lease ended before it could be renewed.")

    async def keep(self) -> None:
        """Renew for ever.

        Ends only by `LeaseLost` or `Unauthorized`; run it beside the work and cancel it after.
        """
        while True:
            await self._sleep(self._beat_seconds)
            started_at = self._clock()
            answer = await self._renew()
            # Counted from when it was asked for: the grant is at least as old as that.
            self._grant(started_at, answer.lease_seconds)
            if answer.superseded:
                _log.info("superseded", note="a newer version is worked after this one")

    async def _renew(self) -> HeartbeatResponse:
        beat = Backoff(longest_seconds=max(self._beat_seconds / 2, 0.1)).retrying()
        try:
            async with asyncio.timeout(max(self.left_seconds, 0)):
                return await beat(self._control.heartbeat, self._lease.id, self._lease.token)
        except TimeoutError:
            raise LeaseLost("The lease ended: no heartbeat was answered.") from None

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.check()

    def _grant(self, since: float, seconds: float) -> None:
        self._deadline = since + seconds * _SAFETY
        self._beat_seconds = min(seconds / _BEATS, self._longest_beat_seconds)
