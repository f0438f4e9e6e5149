"""Samples published results, machines and their one-time tokens while a run goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from random import Random

import httpx

from tests.chaos.bucket import FaultyBucket
from tests.chaos.cluster import OUTPUT, PREFIX, agents
from tests.chaos.content import COPY
from tests.chaos.history import History
from tests.chaos.processes import once_token
from workers.manifest import Manifest
from workers.protocol import MANIFEST

_LOOK_SECONDS = 0.01
_RECENT = 60
"""Number of most recently written keys, which are looked at most often."""
_MACHINES_SECONDS = 0.25


class ResultWatcher:
    """Samples results and machines. ``faults`` are results that went back to older content."""

    def __init__(self, bucket: FaultyBucket, histories: Mapping[str, History], seed: int) -> None:
        self.looks = 0
        self.faults: list[tuple[str, str]] = []
        """Key and violation."""
        self.most_machines = 0
        self.machines: list[str] = []
        """The machines at the moment with the most of them."""
        self.tokens: set[str] = set()
        """One-time tokens of all machines seen; none may be in a log."""
        self._bucket = bucket
        self._histories = histories
        self._random = Random(f"{seed}/watcher")

    async def watch(self) -> None:
        """Look at results, one after the other, until cancelled."""
        while True:
            if key := self._choose():
                await self.look(key)
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self, key: str) -> None:
        """Look at one key's result."""
        history = self._histories[key]
        try:
            copy = await self._bucket.get(OUTPUT, f"{PREFIX}{key}/{COPY}")
            manifest = await self._bucket.get(OUTPUT, f"{PREFIX}{key}/{MANIFEST}")
        except httpx.HTTPError:
            return
        self.looks += 1
        self._fault(key, history.observe(time.time(), copy.etag if copy else None))
        if manifest:
            self._fault(key, history.observe_token(time.time(), Manifest.decode(manifest.content).token))

    async def count_machines(self) -> None:
        """Count machines until cancelled."""
        while True:
            running = agents()
            if len(running) > self.most_machines:
                self.most_machines = len(running)
                self.machines = [f"{process.pid} of {process.parent}, {process.state}" for process in running]
            self.tokens |= {token for token in map(once_token, running) if token}
            await asyncio.sleep(_MACHINES_SECONDS)

    def _choose(self) -> str | None:
        keys = list(self._histories)
        if not keys:
            return None
        # A result is most likely to go back to older content shortly after a write.
        if self._random.random() < 0.7:
            keys = sorted(keys, key=lambda key: self._histories[key].writes[-1].at)[-_RECENT:]
        return self._random.choice(keys)

    def _fault(self, key: str, text: str) -> None:
        if text:
            self.faults.append((key, text))
