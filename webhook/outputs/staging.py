"""Publishes staged outputs, where the store of the output location honours no conditions.

A worker writes its outputs under keys that hold its token, ``{output}{key}/.yurt-{token}/{name}``, to which no other
lease writes. When it is done, the control plane takes the lease over, so that no other worker can get it, checks that
what is published is older, and copies: the manifest last. A worker whose lease has ended can neither settle nor
overwrite.

What remains: a copy that the store carries out after the lease has ended, so later than is assumed
(``webhook.storage.late_effects``). Then an older output lies under a stable key; it carries its older token, by which
the next full sweep finds it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from webhook.config import Pipeline
from webhook.ledger.ledger import LiveLease
from webhook.ledger.transitions import Failure, Published
from webhook.outputs import keys
from webhook.outputs.fencing import AnotherPipelines, LeaseNotLive, ReplicaBehind, require_own, require_replaceable
from webhook.storage import ObjectHead, ObjectStore, PreconditionFailed, StoreError
from webhook.storage.late_effects import bounded
from workers.protocol import MANIFEST

COPY_SECONDS = 60.0
"""For all copies of one object."""


class Staging:
    """Copies staged outputs to their stable keys."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def publish(self, lease: LiveLease, name: str, pipeline: Pipeline, result: Published) -> Published | Failure:
        """Publish the staged outputs of a lease that the control plane holds. Returns the outcome to settle it with.

        ``result`` names the staged outputs with their ETags; the outcome names the published ones with theirs.
        """
        try:
            async with bounded(COPY_SECONDS):
                return replace(result, published=await self._copy_all(lease, name, pipeline, result))
        except LeaseNotLive:
            return Failure("store", "A result with a later token is there already.", retry=True)
        except AnotherPipelines as error:
            return Failure("output-taken", str(error), retry=False)
        except ReplicaBehind as error:
            return Failure("replica-behind", str(error), retry=True)
        except (StoreError, PreconditionFailed) as error:
            return Failure("store", f"The outputs could not be published: {error}.", retry=True)
        except TimeoutError:
            return Failure("store", "Publishing the outputs took too long.", retry=True)

    async def _copy_all(
        self, lease: LiveLease, pipeline_name: str, pipeline: Pipeline, result: Published
    ) -> dict[str, str]:
        """Look at all that is published before anything is written, and copy the manifest after everything else."""
        copies = [_Copy(self._store, pipeline, lease, name, etag) for name, etag in result.published.items()]
        # All are checked before any is copied: half of a result is worse than none.
        for head in await asyncio.gather(*(copy.published() for copy in copies)):
            if head:
                require_own(head, pipeline_name)
                require_replaceable(head, lease, pipeline, result.etag, result.modified)
        await asyncio.gather(*(copy.make() for copy in copies if copy.name != MANIFEST))
        await asyncio.gather(*(copy.make() for copy in copies if copy.name == MANIFEST))
        return {copy.name: copy.etag for copy in copies}


class _Copy:
    """One output between its staged and its stable key."""

    def __init__(self, store: ObjectStore, pipeline: Pipeline, lease: LiveLease, name: str, etag: str) -> None:
        self.name = name
        self.etag = etag
        self._store = store
        self._bucket = pipeline.output.bucket
        self._stable = keys.output_key(pipeline, lease.key, name)
        self._staged = keys.staged_key(pipeline, lease.key, lease.token, name)
        self._token = lease.token

    async def published(self) -> ObjectHead | None:
        """The output under the stable key, if there is one."""
        return await self._store.head(self._bucket, self._stable)

    async def make(self) -> None:
        """Copy the output, unless that was done before: by a process that ended, or by the worker itself where
        conditions hold.
        """
        staged = await self._store.head(self._bucket, self._staged)
        if staged is None:
            published = await self.published()
            if published is None or keys.token_of(published.metadata) != self._token:
                raise StoreError(f"{self.name} was not put aside", retry=True)
            self.etag = published.etag
        elif staged.etag != self.etag:
            raise StoreError(f"{self.name} is not what the worker says", retry=True)
        else:
            self.etag = await self._store.copy(self._bucket, self._staged, self._bucket, self._stable, staged.etag)
