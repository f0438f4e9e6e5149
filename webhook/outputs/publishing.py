"""Publishes the results of leases: presigns outputs, settles, and removes outputs that a new result does not have.

The one service that decides what may be written to an output location. Where the store honours conditions, workers
write under stable keys and settling only records the result. Where it does not, workers write staged outputs, and a
lease is settled once the control plane has copied these to their stable keys (``webhook.outputs.staging``).

Whatever the control plane itself changes among an object's outputs, it changes while it holds the object's lease: no
other lease can publish until none of its requests can take effect any more.
"""

from __future__ import annotations

import asyncio

import structlog

from webhook.batching import Batcher
from webhook.config import Pipeline
from webhook.ledger.coalescing import ObjectPlace
from webhook.ledger.ledger import Ledger, LiveLease, Settlement
from webhook.ledger.transitions import Failure, LeaseReleased, Published
from webhook.outputs import keys
from webhook.outputs.conditions import Conditions, Style
from webhook.outputs.fencing import AnotherPipelines, LeaseNotLive, ReplicaBehind
from webhook.outputs.keys import KeyTooLong
from webhook.outputs.presigning import LeaseOutputs, presign
from webhook.outputs.removal import REMOVE_SECONDS, Leftovers, Remover
from webhook.outputs.requested import OutputsRefused, RequestedOutputs, check_sizes
from webhook.outputs.staging import COPY_SECONDS, Staging
from webhook.pipelines import NamedPipeline, Pipelines
from webhook.storage import ObjectStore, StoreError
from webhook.storage.late_effects import ABANDONED_SECONDS
from workers.protocol import OutputsRequest, Upload

log = structlog.get_logger()

_SETTLE_FLUSH = 512
_SETTLE_BACKLOG = 20_000
_SETTLE_SECONDS = 20.0
"""More than a settlement takes."""
_HOLD_SECONDS = COPY_SECONDS + REMOVE_SECONDS + ABANDONED_SECONDS + _SETTLE_SECONDS
"""For which the control plane holds an object: copies, removals, and one abandoned call of theirs."""


_LeaseName = tuple[int, int, int | None]
"""Object, fencing token and worker: a settlement that differs in one of them is of another lease."""


def _named(settlement: Settlement) -> _LeaseName:
    return settlement.id, settlement.token, settlement.worker_id


class CannotPublish(Exception):
    """Nothing of this lease can be published: it is to be settled with ``outcome``."""

    def __init__(self, outcome: Failure | LeaseReleased) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class Publishing:
    """What leases publish, from the first presigned PUT to the settlement. Close with ``aclose``."""

    def __init__(
        self, ledger: Ledger, pipelines: Pipelines, store: ObjectStore, conditions: Conditions, remover: Remover
    ) -> None:
        self._ledger = ledger
        self._pipelines = pipelines
        self._store = store
        self._conditions = conditions
        self._leftovers = Leftovers(remover)
        self._requested = RequestedOutputs()
        self._staging = Staging(store)
        self._finishing: dict[_LeaseName, asyncio.Task[ObjectPlace | None]] = {}
        """Leases that the control plane holds, to change outputs before it settles them."""
        self._settler: Batcher[Settlement, ObjectPlace | None] = Batcher(
            ledger.settle, largest=_SETTLE_FLUSH, backlog=_SETTLE_BACKLOG
        )

    async def aclose(self) -> None:
        """Finish what is under way: copies, settlements, removals. All of it is bounded in time."""
        await asyncio.gather(*self._finishing.values(), return_exceptions=True)
        await self._settler.aclose()
        await self._leftovers.aclose()

    async def uploads(self, lease_id: int, request: OutputsRequest, worker_id: int) -> list[Upload]:
        """A presigned PUT for each output that a worker's live lease asks for.

        Raises:
            LeaseNotLive: the lease has ended.
            CannotPublish: the lease has to be settled without a result.
            OutputsRefused: the pipeline does not allow such outputs; the lease goes on.
            StoreError, LedgerUnavailable: the worker asks again.

        """
        lease = await self._ledger.publishing(lease_id, request.token, worker_id)
        known = await self._known(lease)
        if lease is None or known is None:
            raise LeaseNotLive
        name, pipeline = known
        self._requested.add(pipeline, request)
        style = await self._conditions.style(pipeline)
        if self._conditions.refusal(pipeline) or (style is Style.NONE and not pipeline.may_stage):
            raise CannotPublish(LeaseReleased())
        # Noted before a URL exists: after that the worker may settle at any moment.
        self._leftovers.note(lease, pipeline, [output.name for output in request.outputs])
        try:
            return await presign(self._store, LeaseOutputs(lease, name, pipeline, style, request))
        except KeyTooLong as error:
            raise CannotPublish(Failure("key-too-long", str(error), retry=False)) from None
        except AnotherPipelines as error:
            raise CannotPublish(Failure("output-taken", str(error), retry=False)) from None
        except ReplicaBehind as error:
            raise CannotPublish(Failure("replica-behind", str(error), retry=True)) from None

    async def settle(self, settlement: Settlement) -> ObjectPlace | None:
        """Settle a lease, and before that remove the outputs that its result no longer has. Returns the object.

        None: the lease was lost, or its staged outputs could not be published; no result was recorded. A worker that
        repeats a settlement, since the answer was lost, waits for the one that is under way.

        Raises LedgerUnavailable, Overloaded.
        """
        asked_for = self._requested.forget(settlement.token)
        result = settlement.outcome
        if not isinstance(result, Published):
            return await self._settler.submit(settlement)
        changes = self._leftovers.any(settlement.token, result.published) or await self._is_to_be_finished(
            settlement, asked_for
        )
        # Looked at last: another request with the same settlement may have begun meanwhile.
        if changes or _named(settlement) in self._finishing:
            return await self._finish_once(settlement, result)
        return await self._settler.submit(settlement)

    async def _is_to_be_finished(self, settlement: Settlement, asked_for: Pipeline | None) -> bool:
        """Whether a live lease is of a pipeline whose outputs are staged, or have to be looked at."""
        # Almost always the worker asked this replica for its outputs' URLs: no question to the ledger.
        pipeline = asked_for
        if pipeline is None:
            lease = await self._ledger.lease(settlement.id, settlement.token, settlement.worker_id)
            pipeline = known[1] if (known := await self._known(lease)) else None
        return pipeline is not None and (pipeline.may_stage or not self._conditions.fixes_length(pipeline))

    # ── stores that take another length than was signed ──────────────────────────────────────────────────────────────

    async def _check_stored(self, lease: LiveLease, pipeline: Pipeline, result: Published) -> None:
        """Raises OutputsRefused, StoreError."""
        if self._conditions.fixes_length(pipeline):
            return
        staged = await self._conditions.style(pipeline) is Style.NONE
        full = {
            name: keys.staged_key(pipeline, lease.key, lease.token, name)
            if staged
            else keys.output_key(pipeline, lease.key, name)
            for name in result.published
        }
        heads = await asyncio.gather(*(self._store.head(pipeline.output.bucket, key) for key in full.values()))
        check_sizes(pipeline, {name: head.size for name, head in zip(full, heads, strict=True) if head})

    # ── what is changed before a lease is settled ────────────────────────────────────────────────────────────────────

    async def _finish_once(self, settlement: Settlement, result: Published) -> ObjectPlace | None:
        name = _named(settlement)
        # Two copies side by side of one lease would race with each other.
        if name not in self._finishing:
            task = self._finishing[name] = asyncio.create_task(self._finish(settlement, result))
            task.add_done_callback(lambda done: self._finished(name, done))
        return await asyncio.shield(self._finishing[name])

    async def _finish(self, settlement: Settlement, result: Published) -> ObjectPlace | None:
        assert settlement.worker_id is not None
        # From here on no worker holds the lease, so nothing is published that a copy or a removal could hit.
        lease = await self._ledger.seal(settlement.id, settlement.token, settlement.worker_id, _HOLD_SECONDS)
        known = await self._known(lease)
        if lease is None or known is None:
            return None
        name, pipeline = known
        outcome = await self._published(lease, name, pipeline, result)
        if isinstance(outcome, Published):
            await self._leftovers.remove(lease.token, outcome.published)
        # A failure is settled too: the object is tried again with backoff, not after the whole hold.
        place = await self._settler.submit(Settlement(lease.id, lease.token, None, outcome, settlement.worker_id))
        if isinstance(outcome, Failure):
            log.warning("outputs not published", key=lease.key, lease=lease.id, token=lease.token, why=outcome.message)
            return None
        if pipeline.may_stage:
            self._leftovers.remove_staged(pipeline, lease.key, lease.token)
        return place

    async def _published(
        self, lease: LiveLease, name: str, pipeline: Pipeline, result: Published
    ) -> Published | Failure:
        """Check and copy what a lease has stored. Returns the outcome to settle it with."""
        try:
            await self._check_stored(lease, pipeline, result)
        except OutputsRefused as refused:
            await self._leftovers.remove_own(pipeline, lease.key, [*result.published], lease.token)
            return Failure(refused.reason, str(refused), retry=False)
        except StoreError as error:
            return Failure("store", f"The outputs could not be looked at: {error}.", retry=True)
        if not pipeline.may_stage:
            return result
        return await self._staging.publish(lease, name, pipeline, result)

    async def _known(self, lease: LiveLease | None) -> NamedPipeline | None:
        """The pipeline as the lease was given it. None: the lease has ended, or nothing is known of the pipeline."""
        return await self._pipelines.of_lease(lease) if lease else None

    def _finished(self, name: _LeaseName, task: asyncio.Task[ObjectPlace | None]) -> None:
        del self._finishing[name]
        if not task.cancelled():
            task.exception()  # marks it as retrieved: the request that waited for it may be gone
