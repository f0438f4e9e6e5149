"""Looks on while it all happens: at published results, at machines, at tokens that must not be in any log."""

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
"""Of the keys written last, the ones looked at most."""
_MACHINES_SECONDS = 0.25


class ResultWatcher:
    """Samples. ``faults`` are results that went back to something older."""

    def __init__(self, bucket: FaultyBucket, histories: Mapping[str, History], seed: int) -> None:
        self.looks = 0
        self.faults: list[tuple[str, str]] = []
        """Key, and what was wrong."""
        self.most_machines = 0
        self.machines: list[str] = []
        """Those that ran when most did."""
        self.tokens: set[str] = set()
        """One-time tokens of machines that were seen."""
        self._bucket = bucket
        self._histories = histories
        self._random = Random(f"{seed}/watcher")

    async def watch(self) -> None:
        """Look at results, one after the other, for ever."""
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
        self._fault(key, history.saw(time.time(), copy.etag if copy else None))
        if manifest:
            self._fault(key, history.saw_token(time.time(), Manifest.decode(manifest.content).token))

    async def count_machines(self) -> None:
        """Count machines, for ever."""
        while True:
            found = agents()
            if len(found) > self.most_machines:
                self.most_machines = len(found)
                self.machines = [f"{process.pid} of {process.parent}, {process.state}" for process in found]
            self.tokens |= {token for token in map(once_token, found) if token}
            await asyncio.sleep(_MACHINES_SECONDS)

    def _choose(self) -> str | None:
        keys = list(self._histories)
        if not keys:
            return None
        if self._random.random() < 0.7:
            keys = sorted(keys, key=lambda key: self._histories[key].writes[-1].at)[-_RECENT:]
        return self._random.choice(keys)

    def _fault(self, key: str, text: str) -> None:
        if text:
            self.faults.append((key, text))
