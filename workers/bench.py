"""Places for handlers.

The first is warmed while the agent still calls home and does not know how many it may fill.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from workers.sandbox import Sandbox, WorkerFault

_log = structlog.get_logger()

_PRELOAD = ("photo",)


class Bench:
    """As many places as the control plane says, each taken by one job at a time. Close with ``aclose``."""

    def __init__(self) -> None:
        # Last in, first out: the place used last has the warmest child.
        self._free: asyncio.LifoQueue[Sandbox] = asyncio.LifoQueue()
        self._sandboxes: list[Sandbox] = []
        self._warming: list[asyncio.Task[None]] = []
        self.slots = 0
        self.widen(1)

    def widen(self, slots: int) -> None:
        """Have ``slots`` places, and start to warm those that are new."""
        new = slots - self.slots
        if new > 0:
            sandbox = Sandbox(new, preload=_PRELOAD)
            self._sandboxes.append(sandbox)
            self._warming.append(asyncio.create_task(_warm(sandbox)))
            for _ in range(new):
                self._free.put_nowait(sandbox)
            self.slots = slots

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Sandbox]:
        """Wait for a free place and hold it. First come, first served."""
        sandbox = await self._free.get()
        try:
            yield sandbox
        finally:
            self._free.put_nowait(sandbox)

    async def aclose(self) -> None:
        """Kill all children and wait until they are gone."""
        for task in self._warming:
            task.cancel()
        await asyncio.gather(*self._warming, return_exceptions=True)
        await asyncio.gather(*(sandbox.aclose() for sandbox in self._sandboxes))


async def _warm(sandbox: Sandbox) -> None:
    try:
        await sandbox.warm()
    except WorkerFault as fault:  # the first job will meet the same and tell the control plane
        _log.warning("not-warm", error=str(fault))
