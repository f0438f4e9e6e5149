"""Renews a lease and enforces its deadline.

The agent fences itself: past the deadline it publishes nothing more, whether or not the control plane has told it that
the lease is lost. That alone keeps a worker that was cut off, or asleep, from writing over a later lease's results; the
conditions on its PUTs are the second guard.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NoReturn

import structlog

from workers.client import ControlPlaneClient, LeaseLost
from workers.protocol import HeartbeatResponse, Lease
from workers.retry import Backoff

_log = structlog.get_logger()

_USED_PART = 0.95
"""Part of a grant that is used: clocks drift, and a request sent in the last instant arrives after it."""
_BEATS = 3
"""Heartbeats in one grant: two may fail."""


def boot_seconds() -> float:
    """Seconds on a clock that goes on while the machine is suspended, where the system has one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Heartbeat:
    """The deadline of one lease, and the requests that move it."""

    def __init__(
        self,
        lease: Lease,
        client: ControlPlaneClient,
        *,
        longest_beat_seconds: float,
        clock: Callable[[], float] = boot_seconds,
    ) -> None:
        """``longest_beat_seconds`` is the longest time between two heartbeats, however long the lease."""
        self._lease = lease
        self._client = client
        self._clock = clock
        self._longest_beat_seconds = longest_beat_seconds
        self._grant(clock(), lease.lease_seconds)

    @property
    def left_seconds(self) -> float:
        """Until the deadline; negative when it has passed."""
        return self._deadline - self._clock()

    def check(self) -> None:
        """Raise `LeaseLost` past the deadline. To be called right before each request that publishes."""
        if self.left_seconds <= 0:
            raise LeaseLost("The lease ended before it could be renewed.")

    async def renew(self) -> NoReturn:
        """Renew the lease again and again, until this is cancelled. Run it beside the work.

        Raises `LeaseLost` when the deadline passes or the control plane refuses, `Unauthorized` and `Rejected`.
        """
        while True:
            await self._sleep(self._beat_seconds)
            await self.beat()

    async def beat(self) -> None:
        """Renew the lease now, and report what is in the handler.

        Raises `LeaseLost` when the deadline passes or the control plane refuses, `Unauthorized` and `Rejected`.
        """
        started_at = self._clock()
        response = await self._beat()
        # From the request, not the response: the control plane counts from a moment between the two.
        self._grant(started_at, response.lease_seconds)
        if response.superseded:
            _log.info("superseded", note="a newer version is worked after this one")

    async def _beat(self) -> HeartbeatResponse:
        # Waits no longer than half the time between two, so that a lease outlives a failed heartbeat or two.
        retrying = Backoff(longest_seconds=max(self._beat_seconds / 2, 0.1)).retrying()
        try:
            async with asyncio.timeout(max(self.left_seconds, 0)):
                return await retrying(self._client.heartbeat, self._lease.id, self._lease.token)
        except TimeoutError:
            raise LeaseLost("The lease ended: no heartbeat was answered.") from None

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        # The machine may have been suspended for longer than the lease: then another worker may hold it.
        self.check()

    def _grant(self, since: float, seconds: float) -> None:
        self._deadline = since + seconds * _USED_PART
        self._beat_seconds = min(seconds / _BEATS, self._longest_beat_seconds)
