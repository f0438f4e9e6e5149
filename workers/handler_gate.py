"""Tells which leases are in the handler, and lets one that is on trial enter it alone.

The control plane has to know what was in the handler of a worker that is lost: nothing else may have ended it. A lease
on trial (``Lease.trial``) was in such a handler before. It enters once the others have left, and keeps them out until
its settlement was answered: then the worker has outlived it, and the control plane knows that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from workers.protocol import Handling


class HandlerGate:
    """Who is in the handler of one agent. First come, first served. Use on one event loop."""

    def __init__(self) -> None:
        # A lease passes the turnstile to enter; one on trial keeps it. asyncio's lock is fair, so neither kind starves.
        self._turnstile = asyncio.Lock()
        self._inside: set[int] = set()
        self._left = asyncio.Event()
        self._on_trial: int | None = None
        # Grows over restarts of the agent too, so that a report of its former life cannot take the place of a new one.
        self._number = time.time_ns() // 1_000

    @asynccontextmanager
    async def beside_others(self, token: int) -> AsyncIterator[None]:
        """Be in the handler for the length of the ``with`` block; wait while a lease on trial keeps others out."""
        async with self._turnstile:
            self._inside.add(token)
        try:
            yield
        finally:
            self._leave(token)

    @asynccontextmanager
    async def alone(self, token: int) -> AsyncIterator[None]:
        """Be in the handler alone for the length of the ``with`` block, and keep others out until ``settled``."""
        await self._turnstile.acquire()
        self._on_trial = token
        try:
            while self._inside:
                self._left.clear()
                await self._left.wait()
            self._inside.add(token)
            yield
        finally:
            self._leave(token)

    def settled(self, token: int) -> None:
        """Let others in again, if this lease was on trial: it was settled, or given up without a settlement."""
        if self._on_trial == token:
            self._on_trial = None
            self._turnstile.release()

    def report(self) -> Handling:
        """What is in the handler now."""
        self._number += 1
        alone = self._on_trial is not None and self._inside <= {self._on_trial}
        return Handling(number=self._number, tokens=sorted(self._inside), alone=alone)

    def _leave(self, token: int) -> None:
        self._inside.discard(token)
        self._left.set()
