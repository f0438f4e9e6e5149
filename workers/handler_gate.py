"""Tells which leases are in the handler, and lets one that is on trial work alone.

The control plane has to know what may have ended a worker that is lost. A lease on trial (``Lease.trial``) may have
ended one before, in the handler or outside of it: so it begins once all others of its worker are settled, and keeps
others out until its own settlement is answered. A worker that is lost meanwhile can have been ended by nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from workers.protocol import Handling


class HandlerGate:
    """Which leases of one agent are at work, and in the handler. First come, first served. Use on one event loop."""

    def __init__(self) -> None:
        # A lease passes the turnstile to begin; one on trial keeps it. asyncio's lock is fair, so neither kind starves.
        self._turnstile = asyncio.Lock()
        self._at_work: set[int] = set()
        self._inside: set[int] = set()
        self._settled = asyncio.Event()
        self._on_trial: int | None = None
        # Grows over restarts of the agent too, so that a report of its former life cannot take the place of a new one.
        self._number = time.time_ns() // 1_000

    async def begin(self, token: int, *, trial: bool) -> None:
        """Wait until the work on this lease may begin. It ends with ``settled``.

        One on trial waits until no other is at work, and keeps others from beginning.
        """
        await self._turnstile.acquire()
        if not trial:
            self._at_work.add(token)
            self._turnstile.release()
            return
        try:
            while self._at_work:
                self._settled.clear()
                await self._settled.wait()
        except asyncio.CancelledError:
            self._turnstile.release()
            raise
        self._on_trial = token

    @contextmanager
    def in_handler(self, token: int) -> Iterator[None]:
        """Be in the handler for the length of the ``with`` block."""
        self._inside.add(token)
        try:
            yield
        finally:
            self._inside.discard(token)

    def settled(self, token: int) -> None:
        """End the work on a lease: its settlement was answered, or it was given up without one."""
        self._at_work.discard(token)
        self._settled.set()
        if self._on_trial == token:
            self._on_trial = None
            self._turnstile.release()

    def report(self, settling: Collection[int] = ()) -> Handling:
        """Return what may end this worker now: the trial, unless its settlement goes out with the report.

        Else what begins after it would be taken for something beside it.
        """
        self._number += 1
        if self._on_trial is not None and self._on_trial not in settling:
            return Handling(number=self._number, tokens=[self._on_trial], alone=True)
        return Handling(number=self._number, tokens=sorted(self._inside))
