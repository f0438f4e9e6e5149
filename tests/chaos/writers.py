"""The application: many clients that upload, overwrite and delete, each key in the hands of one of them."""

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
from tests.chaos.plan import Author, Step

_CLIENTS = 12


class Writers:
    """Carries out steps, and remembers what was written."""

    def __init__(self, bucket: FaultyBucket, seed: int) -> None:
        self.histories: dict[str, History] = {}
        self.done: Counter[Kind] = Counter()
        self._bucket = bucket
        self._seed = seed
        self._authors: dict[str, Author] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def uploads(self) -> int:
        """Writes that were no deletes."""
        return sum(self.done.values()) - self.done["delete"]

    async def write(self, steps: Sequence[Step]) -> None:
        """Carry out all, each at its time or as soon as its client has answered the one before."""
        started = asyncio.get_running_loop().time()
        shares: list[list[Step]] = [[] for _ in range(_CLIENTS)]
        for step in steps:
            shares[crc32(step.key.encode()) % _CLIENTS].append(step)
        async with asyncio.TaskGroup() as group:
            for share in shares:
                group.create_task(self._client(share, started))

    async def author(self, key: str) -> None:
        """Write a key that no step names once more, always with content that never was."""
        author = self._authors.setdefault(key, Author(key, Random(f"{self._seed}/{key}"), SLOWEST_SECONDS))
        kind: Kind = "overwrite" if key in self.histories else "new"
        write = asyncio.create_task(self._write(key, kind, author.fresh(), ""))
        self._under_way.add(write)
        write.add_done_callback(self._under_way.discard)
        # Whoever asked for it may have no more time: what is begun is done all the same, or nobody knew what is there.
        await asyncio.shield(write)

    async def finished(self) -> None:
        """Wait for what nobody waits for any more."""
        await asyncio.gather(*self._under_way)

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
