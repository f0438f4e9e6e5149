"""The simulated application: clients that upload, overwrite and delete. Each key belongs to one client."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from random import Random
from zlib import crc32

from tests.chaos.bucket import FaultyBucket
from tests.chaos.cluster import INPUT, SLOWEST_SECONDS
from tests.chaos.content import UploadContent
from tests.chaos.history import History, Kind, RecordedWrite
from tests.chaos.plan import ContentSequence, Step

_CLIENTS = 12


class Writers:
    """Carries out the planned writes and records them."""

    def __init__(self, bucket: FaultyBucket, seed: int) -> None:
        self.histories: dict[str, History] = {}
        self.done: Counter[Kind] = Counter()
        self._bucket = bucket
        self._seed = seed
        self._sequences: dict[str, ContentSequence] = {}
        self._in_progress: set[asyncio.Task[None]] = set()

    @property
    def uploads(self) -> int:
        """Writes without the deletes."""
        return sum(self.done.values()) - self.done["delete"]

    async def write(self, steps: Sequence[Step]) -> None:
        """Carry out all writes, each at its time or once its client has finished the one before."""
        started = asyncio.get_running_loop().time()
        shares: list[list[Step]] = [[] for _ in range(_CLIENTS)]
        for step in steps:
            shares[crc32(step.key.encode()) % _CLIENTS].append(step)
        async with asyncio.TaskGroup() as group:
            for share in shares:
                group.create_task(self._client(share, started))

    async def overwrite(self, key: str) -> None:
        """Write new content to a key outside of the plan."""
        sequence = self._sequences.setdefault(key, ContentSequence(key, Random(f"{self._seed}/{key}"), SLOWEST_SECONDS))
        kind: Kind = "overwrite" if key in self.histories else "new"
        write = asyncio.create_task(self._write(key, kind, sequence.fresh(), ""))
        self._in_progress.add(write)
        write.add_done_callback(self._in_progress.discard)
        # Shielded: if the caller is cancelled halfway, the history would not know which content the bucket has.
        await asyncio.shield(write)

    async def finished(self) -> None:
        """Wait for writes whose callers were cancelled."""
        await asyncio.gather(*self._in_progress)

    async def _client(self, steps: Sequence[Step], started: float) -> None:
        loop = asyncio.get_running_loop()
        for step in steps:
            await asyncio.sleep(max(0.0, started + step.at - loop.time()))
            await self._write(step.key, step.kind, step.content, step.region)

    async def _write(self, key: str, kind: Kind, content: UploadContent | None, region: str) -> None:
        history = self.histories.setdefault(key, History(key))
        write = RecordedWrite(time.time(), kind, content, region)
        history.writes.append(write)
        if content is None:
            await self._bucket.delete(INPUT, key, region)
        else:
            etag = await self._bucket.put(INPUT, key, content.encode(), region)
            assert etag == content.etag, "the bucket's ETag is not the MD5 of what was put"
        write.done_at = time.time()
        self.done[kind] += 1
