"""Takes outputs away: of inputs that are gone, of older results, and what was never published.

Nothing is touched but what Yurt wrote: an output whose ETag is the recorded one, or that carries a fencing token. Names
never contain a slash, so what lies deeper below ``{output}{key}/`` belongs to another input and is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from webhook.config import RESERVED_PREFIX, Pipeline, Place
from webhook.events import MAX_KEY_BYTES
from webhook.ledger.ledger import LiveLease
from webhook.outputs.publishing import KeyTooLong, token_of
from webhook.storage import ObjectHead, ObjectStore, PreconditionFailed, StoreError
from workers.protocol import MANIFEST

log = structlog.get_logger()

MOST_NAMES = 500
"""Of one input that are removed at a time."""
_MOST_NOTED = 10_000
_MOST_TASKS = 64
_TASK_SECONDS = 30.0


class Remover:
    """Removes outputs. Every method can be repeated, and raises StoreError."""

    def __init__(self, store: ObjectStore, pipelines: Sequence[Pipeline]) -> None:
        """``pipelines`` are all that there are: another's outputs may lie in the same place."""
        self._store = store
        self._pipelines = pipelines

    async def remove_all(self, pipeline: Pipeline, key: str, published: Mapping[str, str], token: int) -> None:
        """Remove an input's outputs, or move them to the trash, as the pipeline says.

        ``token`` is that of the lease under which this is done: what was written under a later one stays. A process
        that slept through the end of its lease must not take away what was made since.

        ``published`` is what the ledger knows (name to ETag). It may be pruned or rebuilt, so what else lies there and
        carries a fencing token goes as well. No worker may hold the object's lease meanwhile.
        """
        if len(f"{pipeline.output.prefix}{key}/".encode()) >= MAX_KEY_BYTES:
            return  # no output has room there
        names = {*published, *await self._lying(pipeline, key)} - {MANIFEST}
        # The manifest goes first, as it came last: who sees it can read everything that it names.
        await self._remove(pipeline, key, MANIFEST, published.get(MANIFEST), token)
        await _all(self._remove(pipeline, key, name, published.get(name), token) for name in sorted(names))
        if pipeline.unconditional == "stage":
            await self.remove_staged(pipeline, key)

    async def remove_stale(self, pipeline: Pipeline, key: str, former: Mapping[str, str], token: int) -> None:
        """Remove outputs (name to ETag) that a result with this fencing token no longer has.

        A newer result may have them again: then what is there carries its token, or another ETag, and stays.
        """
        await _all(self._remove_former(pipeline, key, *item, token) for item in former.items())

    async def remove_staged(self, pipeline: Pipeline, key: str, below: int | None = None) -> int:
        """Remove outputs that were put aside under tokens below this one, or all, and never published.

        Returns how many.
        """
        prefix = f"{pipeline.output.prefix}{key}/{RESERVED_PREFIX}"
        page = await self._store.list_page(pipeline.output.bucket, prefix)
        staged = [
            item for item in page.objects if (t := staged_token(prefix, item.key)) and (below is None or t < below)
        ]
        await _all(self._store.delete(pipeline.output.bucket, item.key, "") for item in staged)
        return len(staged)

    async def discard(self, pipeline: Pipeline, key: str, etag: str) -> None:
        """Remove an object that was of use to nobody but a process that ended."""
        with contextlib.suppress(PreconditionFailed):
            await self._store.delete(pipeline.output.bucket, key, etag)

    async def _lying(self, pipeline: Pipeline, key: str) -> list[str]:
        """Names directly below an input's key, where no other pipeline's outputs can be among them."""
        if sum(other.output.overlaps(pipeline.output) for other in self._pipelines) > 1:
            return []
        prefix = f"{pipeline.output.prefix}{key}/"
        listed = await self._store.names(pipeline.output.bucket, prefix, MOST_NAMES)
        return [
            name for item in listed if (name := item.key.removeprefix(prefix)) and not name.startswith(RESERVED_PREFIX)
        ]

    async def _remove(self, pipeline: Pipeline, key: str, name: str, recorded: str | None, token: int) -> None:
        source = f"{pipeline.output.prefix}{key}/{name}"
        found = await self._store.head(pipeline.output.bucket, source)
        if found is None or token_of(found) > token:
            return
        if found.etag != recorded and not token_of(found):
            log.warning("output left alone: something else was written there", key=key, output=name)
            return
        try:
            if pipeline.trash:
                await self._move(pipeline.output.bucket, source, pipeline.trash, f"{key}/{name}", found)
            else:
                await self._store.delete(pipeline.output.bucket, source, found.etag)
        except PreconditionFailed:
            log.warning("output left alone: it has just been written anew", key=key, output=name)
        except KeyTooLong:
            log.warning("output left alone: its key in the trash would be too long", key=key, output=name)

    async def _move(self, bucket: str, source: str, trash: Place, below: str, found: ObjectHead) -> None:
        target = f"{trash.prefix}{below}"
        if len(target.encode()) > MAX_KEY_BYTES:
            raise KeyTooLong
        await self._store.copy(bucket, source, trash.bucket, target, found.etag)
        await self._store.delete(bucket, source, found.etag)

    async def _remove_former(self, pipeline: Pipeline, key: str, name: str, etag: str, token: int) -> None:
        source = f"{pipeline.output.prefix}{key}/{name}"
        found = await self._store.head(pipeline.output.bucket, source)
        if found is None or found.etag != etag or token_of(found) >= token:
            return
        try:
            await self._store.delete(pipeline.output.bucket, source, etag)
        except PreconditionFailed:
            return
        log.info("output of an older result removed", key=key, output=name)


@dataclass(frozen=True, slots=True)
class _Former:
    pipeline: Pipeline
    key: str
    names: Mapping[str, str]


class Leftovers:
    """Outputs that an object's new result no longer has: noted when a lease asks where to publish, removed afterwards.

    In the background, for as many as this process can remember. What is forgotten, the next full sweep finds.
    """

    def __init__(self, remover: Remover) -> None:
        self._remover = remover
        self._former: dict[int, _Former] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, lease: LiveLease, pipeline: Pipeline, names: Iterable[str]) -> None:
        """A lease is about to publish under these names: what else has its object now?"""
        asked = set(names)
        before = self._former.pop(lease.token, None)
        former = before.names if before else lease.published
        left = {name: etag for name, etag in former.items() if name not in asked}
        if left:
            if len(self._former) >= _MOST_NOTED:
                del self._former[next(iter(self._former))]
            self._former[lease.token] = _Former(pipeline, lease.key, left)

    def remove(self, token: int, kept: Iterable[str]) -> None:
        """The lease is settled with a result of these names: remove the others, without waiting for that."""
        former = self._former.pop(token, None)
        names = set(kept)
        left = {name: etag for name, etag in former.names.items() if name not in names} if former else {}
        if former and left:
            self._start(self._remover.remove_stale(former.pipeline, former.key, left, token))

    def remove_staged(self, pipeline: Pipeline, key: str, token: int) -> None:
        """What was put aside under this token or an older one is of no use any more."""
        self._start(self._remover.remove_staged(pipeline, key, below=token + 1))

    async def aclose(self) -> None:
        """Wait for what is under way: it is bounded."""
        await asyncio.gather(*self._tasks)

    def _start(self, work: Coroutine[None, None, object]) -> None:
        if len(self._tasks) >= _MOST_TASKS:
            work.close()
            return
        task = asyncio.create_task(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _quietly(work: Coroutine[None, None, object]) -> None:
    """Nobody waits for it, and nothing depends on it."""
    try:
        async with asyncio.timeout(_TASK_SECONDS):
            await work
    except (StoreError, PreconditionFailed, TimeoutError) as error:
        log.warning("outputs of no use left behind", error=str(error) or "it took too long")


async def _all(calls: Iterable[Coroutine[None, None, None]]) -> None:
    """Wait for all, also where one fails: who goes on after a failure must know that nothing is under way any more."""
    for ended in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended


def staged_token(prefix: str, key: str) -> int:
    """The fencing token under which a key was put aside; ``prefix`` goes up to where it stands. 0: it was not."""
    text, slash, name = key.removeprefix(prefix).partition("/")
    return int(text) if slash and name and "/" not in name and text.isdecimal() and len(text) < 20 else 0
