"""Removes outputs: of deleted inputs, leftover outputs of older results, and staged outputs that were never published.

Nothing is removed but what Yurt wrote: an output whose ETag is the recorded one, or that carries a fencing token. Names
of outputs hold no slash, so what lies deeper below ``{output}{key}/`` belongs to another input and is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from webhook.config import Pipeline
from webhook.ledger.ledger import LiveLease
from webhook.outputs import keys
from webhook.storage import ObjectStore, PreconditionFailed, StoreError
from webhook.storage.late_effects import bounded
from workers.protocol import MANIFEST

log = structlog.get_logger()

MOST_NAMES = 500
"""Names of one input's outputs that are listed for removal."""
_MOST_NOTED = 10_000
"""Leases whose leftover outputs one process remembers."""
_MOST_TASKS = 64
"""Removals under way in the background."""
REMOVE_SECONDS = 60.0
"""For the removals of one object that are not waited for longer."""


class Remover:
    """Removes outputs of one input. Every method can be repeated, and raises StoreError.

    Args:
        store: The store of the output locations.
        pipelines: Every configured pipeline: another pipeline's outputs may lie in the same location.

    """

    def __init__(self, store: ObjectStore, pipelines: Sequence[Pipeline]) -> None:
        self._store = store
        self._pipelines = pipelines

    async def remove_all(self, pipeline: Pipeline, key: str, published: Mapping[str, str], token: int) -> None:
        """Remove all outputs of a deleted input, or move them to the trash, as the pipeline says.

        ``token`` is that of the lease under which this is done: what was written under a later one stays. A process
        that slept through the end of its lease must not remove what was made since.

        ``published`` (name to ETag) is what the ledger knows. It may have been pruned or rebuilt, so other outputs that
        carry a fencing token are removed as well. No worker may hold the object's lease meanwhile.
        """
        if not keys.has_room(pipeline, key):
            return
        # The ledger alone is not enough: a lost worker may have written outputs that were never recorded.
        names = {*published, *await self._listed_names(pipeline, key)} - {MANIFEST}
        # The manifest goes first, as it came last: an app that sees it can read everything that it names.
        await self._remove(pipeline, key, MANIFEST, published.get(MANIFEST), token)
        await _all(self._remove(pipeline, key, name, published.get(name), token) for name in sorted(names))
        if pipeline.may_stage:
            await self.remove_staged(pipeline, key, below=token)

    async def remove_leftovers(self, pipeline: Pipeline, key: str, leftovers: Mapping[str, str], token: int) -> None:
        """Remove outputs (name to ETag) that the result with this fencing token does not have.

        What its lease wrote and did not name goes too. A newer result may have them: then the output carries a later
        token, or another ETag, and stays. No worker may hold the object's lease meanwhile.
        """
        await _all(self._remove_leftover(pipeline, key, *item, token) for item in leftovers.items())

    async def remove_own(self, pipeline: Pipeline, key: str, names: Iterable[str], token: int) -> None:
        """Remove the outputs of these names that were written under this token."""
        await _all(self._remove_own(pipeline, keys.output_key(pipeline, key, name), token) for name in names)

    async def remove_staged(self, pipeline: Pipeline, key: str, below: int) -> int:
        """Remove staged outputs of one input, of tokens below this one. Returns how many.

        No lease has to guard that: their keys hold the tokens of leases that have ended.
        """
        page = await self._store.list_page(pipeline.output.bucket, keys.staged_prefix(pipeline, key))
        parsed = [(item.key, keys.parse(pipeline, item.key)) for item in page.objects]
        staged = [full for full, output in parsed if output and output.input_key == key and 0 < output.token < below]
        await _all(self._store.delete(pipeline.output.bucket, full, "") for full in staged)
        return len(staged)

    async def discard(self, pipeline: Pipeline, key: str, etag: str) -> None:
        """Remove an object that only a process that has ended had a use for, unless it has changed since."""
        with contextlib.suppress(PreconditionFailed):
            await self._store.delete(pipeline.output.bucket, key, etag)

    async def _listed_names(self, pipeline: Pipeline, key: str) -> list[str]:
        """Names of outputs in the bucket; none where another pipeline's outputs could be among them."""
        if sum(other.output.overlaps(pipeline.output) for other in self._pipelines) > 1:
            return []
        prefix = keys.outputs_prefix(pipeline, key)
        listed = await self._store.list_children(pipeline.output.bucket, prefix, MOST_NAMES)
        names = [item.key.removeprefix(prefix) for item in listed]
        return [name for name in names if name and not keys.is_reserved(name)]

    async def _remove(self, pipeline: Pipeline, key: str, name: str, recorded: str | None, token: int) -> None:
        bucket = pipeline.output.bucket
        source = keys.output_key(pipeline, key, name)
        # A HEAD for each: the ETag to delete under, and the token that says whose it is.
        head = await self._store.head(bucket, source)
        if head is None or keys.token_of(head.metadata) > token:
            return
        if head.etag != recorded and not keys.token_of(head.metadata):
            log.warning("output left alone: something else was written there", key=key, output=name)
            return
        try:
            if pipeline.trash:
                target = keys.trash_key(pipeline.trash, key, name)
                await self._store.copy(bucket, source, pipeline.trash.bucket, target, head.etag)
            await self._store.delete(bucket, source, head.etag)
        except PreconditionFailed:
            log.warning("output left alone: it has just been written anew", key=key, output=name)
        except keys.KeyTooLong:
            log.warning("output left alone: its key in the trash would be too long", key=key, output=name)

    async def _remove_own(self, pipeline: Pipeline, full: str, token: int) -> None:
        head = await self._store.head(pipeline.output.bucket, full)
        if head is not None and keys.token_of(head.metadata) == token:
            await self.discard(pipeline, full, head.etag)

    async def _remove_leftover(self, pipeline: Pipeline, key: str, name: str, etag: str, token: int) -> None:
        source = keys.output_key(pipeline, key, name)
        head = await self._store.head(pipeline.output.bucket, source)
        if head is None or head.etag != etag or keys.token_of(head.metadata) > token:
            return
        try:
            await self._store.delete(pipeline.output.bucket, source, etag)
        except PreconditionFailed:
            return
        log.info("output of an older result removed", key=key, output=name)


@dataclass(frozen=True, slots=True)
class _Former:
    """An object's outputs before a lease published, without those that the lease publishes too."""

    pipeline: Pipeline
    key: str
    outputs: Mapping[str, str]
    """Name to ETag."""


class Leftovers:
    """Outputs that an object's new result no longer has: noted when a lease asks where to publish, removed with it.

    Remembered in this process only, for a bounded number of leases. The next full sweep finds those that were
    forgotten.
    """

    def __init__(self, remover: Remover) -> None:
        self._remover = remover
        self._former: dict[int, _Former] = {}
        """By fencing token of the lease that publishes."""
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, lease: LiveLease, pipeline: Pipeline, names: Iterable[str]) -> None:
        """Remember what a lease that is about to publish outputs of these names will leave over."""
        requested = set(names)
        earlier = self._former.pop(lease.token, None)
        former = earlier.outputs if earlier else lease.published
        left = {name: etag for name, etag in former.items() if name not in requested}
        if left:
            # The oldest is forgotten: most likely its lease has ended without a settlement.
            if len(self._former) >= _MOST_NOTED:
                del self._former[next(iter(self._former))]
            self._former[lease.token] = _Former(pipeline, lease.key, left)

    def any(self, token: int, kept: Iterable[str]) -> bool:
        """Whether a lease leaves any over, whose result has outputs of these names."""
        former = self._former.get(token)
        return former is not None and bool(former.outputs.keys() - set(kept))

    async def remove(self, token: int, kept: Iterable[str]) -> None:
        """Remove what a lease leaves over, whose result has outputs of these names. The caller holds the lease."""
        former = self._former.pop(token, None)
        if former is None:
            return
        names = set(kept)
        left = {name: etag for name, etag in former.outputs.items() if name not in names}
        await _logged(self._remover.remove_leftovers(former.pipeline, former.key, left, token))

    async def remove_own(self, pipeline: Pipeline, key: str, names: Iterable[str], token: int) -> None:
        """Remove what was published under this token, and must not be. The caller holds the lease."""
        await _logged(self._remover.remove_own(pipeline, key, names, token))

    def remove_staged(self, pipeline: Pipeline, key: str, token: int) -> None:
        """Start to remove what was staged under this token or an earlier one."""
        self._start(self._remover.remove_staged(pipeline, key, below=token + 1))

    async def aclose(self) -> None:
        """Wait for the removals that are under way: each is bounded in time."""
        await asyncio.gather(*self._tasks)

    def _start(self, removal: Coroutine[None, None, object]) -> None:
        # A store that hangs must not fill the memory. The next full sweep removes what is left here.
        if len(self._tasks) >= _MOST_TASKS:
            removal.close()
            return
        task = asyncio.create_task(_logged(removal))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _logged(removal: Coroutine[None, None, object]) -> None:
    """Log a removal's failure instead of raising it: a result stands without it, and the next full sweep repeats it."""
    try:
        async with bounded(REMOVE_SECONDS):
            await removal
    except (StoreError, PreconditionFailed, TimeoutError) as error:
        log.warning("outputs of no use left behind", error=str(error) or "it took too long")


async def _all(calls: Iterable[Coroutine[None, None, None]]) -> None:
    """Wait for all calls, also where one fails: a caller that goes on after a failure must know that none is under way.

    Raises the first error.
    """
    for ended in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended
