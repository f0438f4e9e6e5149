"""Publishing where the store honours no conditions.

A worker puts its outputs under keys of its token's own, ``{output}{key}/.yurt-{token}/{name}``, where nobody else
writes. When it is done, the control plane takes the lease over, so that nobody else can get it, looks whether what is
published is older, and copies: the manifest last. A worker whose lease has ended can neither settle nor overwrite.

What remains: a copy that the store takes in, answers late or never, and carries out after the lease has ended. Then an
older output lies under a stable name; it carries its older token, by which the next full sweep finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from webhook.config import RESERVED_PREFIX, Pipeline
from webhook.ledger.coalescing import ObjectPlace
from webhook.ledger.ledger import Ledger, LiveLease, Settlement
from webhook.ledger.transitions import Failure, Published
from webhook.outputs.publishing import LeaseNotLive, ReplicaBehind, guard, output_key, token_of
from webhook.outputs.removal import Leftovers
from webhook.pipelines import Pipelines
from webhook.storage import ObjectHead, ObjectStore, PreconditionFailed, StoreError
from workers.protocol import MANIFEST

log = structlog.get_logger()

COPY_SECONDS = 60.0
"""For all copies of one object."""
HOLD_SECONDS = 180.0
"""For which the control plane holds the object. More than the copies may take, by as much as one call that is not
waited for any more can still be under way: three attempts, each with its time to connect and to answer."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a worker says that it has made and put aside."""

    lease_id: int
    token: int
    worker_id: int
    result: Published
    """With the ETags of what was put aside."""


class Staging:
    """Publishes what workers have put aside, and settles their leases."""

    def __init__(
        self,
        ledger: Ledger,
        routes: Pipelines,
        store: ObjectStore,
        settle: Callable[[Settlement], Awaitable[ObjectPlace | None]],
        leftovers: Leftovers,
    ) -> None:
        self._ledger = ledger
        self._routes = routes
        self._store = store
        self._settle = settle
        self._leftovers = leftovers
        self._finishing: dict[int, asyncio.Task[ObjectPlace | None]] = {}
        self._used = any(pipeline.unconditional == "stage" for _, pipeline in routes.pipelines.values())

    async def concerns(self, made: Made) -> bool:
        """Whether a live lease, or one that is just being finished, is of a pipeline whose outputs may be put aside."""
        if not self._used:
            return False
        lease = await self._ledger.lease(made.lease_id, made.token, made.worker_id)
        return made.token in self._finishing or (lease is not None and self._pipeline(lease) is not None)

    async def finish(self, made: Made) -> ObjectPlace | None:
        """Publish a live lease's outputs under their stable names, and settle it. None: nothing was settled as done.

        A worker that repeats itself, since an answer was lost, waits for what is under way. Raises LedgerUnavailable.
        """
        if made.token not in self._finishing:
            task = self._finishing[made.token] = asyncio.create_task(self._finish(made))
            task.add_done_callback(lambda done: self._finished(made.token, done))
        return await asyncio.shield(self._finishing[made.token])

    async def aclose(self) -> None:
        """Wait for what is under way: it is bounded."""
        await asyncio.gather(*self._finishing.values(), return_exceptions=True)

    def _pipeline(self, lease: LiveLease) -> Pipeline | None:
        _, pipeline = self._routes.pipelines.get(lease.pipeline_id, ("", None))
        return pipeline if pipeline and pipeline.unconditional == "stage" else None

    def _finished(self, token: int, task: asyncio.Task[ObjectPlace | None]) -> None:
        del self._finishing[token]
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits for it any more

    async def _finish(self, made: Made) -> ObjectPlace | None:
        lease = await self._ledger.seal(made.lease_id, made.token, made.worker_id, HOLD_SECONDS)
        pipeline = self._pipeline(lease) if lease else None
        if lease is None or pipeline is None:
            return None
        outcome = await self._publish(lease, pipeline, made)
        settled = await self._settle(Settlement(lease.id, lease.token, None, outcome))
        if isinstance(outcome, Failure):
            log.warning("outputs not published", key=lease.key, lease=lease.id, token=lease.token, why=outcome.message)
            return None
        self._leftovers.remove_staged(pipeline, lease.key, lease.token)
        return settled

    async def _publish(self, lease: LiveLease, pipeline: Pipeline, made: Made) -> Published | Failure:
        try:
            async with asyncio.timeout(COPY_SECONDS):
                return replace(made.result, published=await self._copy_all(lease, pipeline, made.result))
        except LeaseNotLive:
            return Failure("store", "A result with a later token is there already.", retry=True)
        except ReplicaBehind as error:
            return Failure("replica-behind", str(error), retry=True)
        except (StoreError, PreconditionFailed) as error:
            return Failure("store", f"The outputs could not be published: {error}.", retry=True)
        except TimeoutError:
            return Failure("store", "Publishing the outputs took too long.", retry=True)

    async def _copy_all(self, lease: LiveLease, pipeline: Pipeline, result: Published) -> dict[str, str]:
        """Look at all that is published before anything is written, and copy the manifest after all else."""
        copies = [_Copy(self._store, pipeline, lease, name, etag) for name, etag in result.published.items()]
        for found in await asyncio.gather(*(copy.published() for copy in copies)):
            if found:
                guard(found, lease, pipeline, result.etag, result.modified)
        await asyncio.gather(*(copy.make() for copy in copies if copy.name != MANIFEST))
        await asyncio.gather(*(copy.make() for copy in copies if copy.name == MANIFEST))
        return {copy.name: copy.etag for copy in copies}


class _Copy:
    """One output on its way from where it was put aside."""

    def __init__(self, store: ObjectStore, pipeline: Pipeline, lease: LiveLease, name: str, etag: str) -> None:
        self.name = name
        self.etag = etag
        self._store = store
        self._bucket = pipeline.output.bucket
        self._stable = output_key(pipeline, lease.key, name)
        self._staged = output_key(pipeline, lease.key, f"{RESERVED_PREFIX}{lease.token}/{name}")
        self._token = lease.token

    async def published(self) -> ObjectHead | None:
        """What is there under the stable name."""
        return await self._store.head(self._bucket, self._stable)

    async def make(self) -> None:
        """Copy it, unless that was done before: by a process that ended, or by the worker where conditions hold."""
        staged = await self._store.head(self._bucket, self._staged)
        if staged is None:
            there = await self.published()
            if there is None or token_of(there) != self._token:
                raise StoreError(f"{self.name} was not put aside", retry=True)
            self.etag = there.etag
        elif staged.etag != self.etag:
            raise StoreError(f"{self.name} is not what the worker says", retry=True)
        else:
            self.etag = await self._store.copy(self._bucket, self._staged, self._bucket, self._stable, staged.etag)
