"""The worker protocol's server: calling home, leases, publishing, settling.

The lease's fencing token is checked in the statement that changes something, never before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.http import HttpProblem, answer, bearer, read_model, unauthorized
from webhook.batching import Batcher
from webhook.config import Pipeline, Pool
from webhook.events import believed
from webhook.fleet.fleet import worker_idle_seconds
from webhook.ledger import transitions
from webhook.ledger.coalescing import ObjectPlace
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.fleet import Caller, LedgerFleet
from webhook.ledger.ledger import Claimed, Ledger, Settlement
from webhook.ledger.wakeups import Wakeups
from webhook.metrics import Metrics
from webhook.outputs.conditions import Conditions
from webhook.outputs.publishing import (
    KeyTooLong,
    LeaseNotLive,
    OutputPresigner,
    ReplicaBehind,
    Unconditional,
    output_key,
    url_seconds,
)
from webhook.outputs.removal import Leftovers, Remover
from webhook.outputs.staging import Made, Staging
from webhook.pipelines import Pipelines
from webhook.storage import CONSISTENT, ObjectStore, StoreError
from workers import protocol

log = structlog.get_logger()

_CALLER_SECONDS = 1.0
"""How long a token's owner is remembered. A revoked worker could do nothing in it: its leases are taken back."""
_MAX_CALLERS = 10_000
_SETTLE_FLUSH = 512
_SETTLE_BACKLOG = 20_000


@dataclass(slots=True)
class _Known:
    caller: Caller
    until: float


class LeaseApi:
    """Endpoints of the worker protocol."""

    def __init__(
        self,
        ledger: Ledger,
        fleet: LedgerFleet,
        routes: Pipelines,
        pools: Mapping[str, Pool],
        store: ObjectStore,
        conditions: Conditions,
        doorbell: Wakeups,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._routes = routes
        self._pools = pools
        self._store = store
        self._conditions = conditions
        self._leftovers = Leftovers(Remover(store, routes.all))
        self._publisher = OutputPresigner(ledger, routes, store, conditions, self._leftovers.note)
        self._doorbell = doorbell
        self._metrics = metrics
        self._callers: dict[str, _Known] = {}
        self._turns: Counter[str] = Counter()
        self._closing = asyncio.Event()
        self._settler: Batcher[Settlement, ObjectPlace | None] = Batcher(
            ledger.settle, largest=_SETTLE_FLUSH, backlog=_SETTLE_BACKLOG
        )
        self._stage = Staging(ledger, routes, store, self._settler.submit, self._leftovers)

    def close(self) -> None:
        """Answer every long poll now, and each to come at once: the server is about to leave."""
        self._closing.set()
        self._doorbell.ring()

    async def aclose(self) -> None:
        """Write what is being settled, and end what goes on beside."""
        await self._stage.aclose()
        await self._settler.aclose()
        await self._leftovers.aclose()
        await self._conditions.aclose()

    # ── endpoints ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def hello(self, request: Request) -> Response:
        """A minted machine calls home."""
        once = bearer(request)
        said = await read_model(request, protocol.Hello)
        arrival = await self._fleet.hello(once, said.instance)
        if arrival is None:
            raise unauthorized(
                "this one-time token is unknown, was used by another process, or was revoked. Mint another worker"
            )
        pool = self._pools.get(arrival.pool, Pool())
        log.info("worker called home", worker=arrival.id, pool=arrival.pool, label=arrival.label)
        return answer(
            protocol.Welcome(
                worker=arrival.id,
                pool=arrival.pool,
                token=arrival.token,
                slots=arrival.slots,
                idle_seconds=worker_idle_seconds(pool.idle_seconds, pool.minimum),
                orphan_seconds=pool.orphan_seconds,
            )
        )

    async def lease(self, request: Request) -> Response:
        """Settle what is finished, and lease what is due."""
        caller = await self._caller(request)
        asked = await read_model(request, protocol.LeaseRequest)
        settled = await asyncio.gather(*(self._settle(caller, item) for item in asked.settle))
        leases: list[protocol.Lease] = []
        if asked.max and not caller.draining:
            leases = await self._wait(request, caller, asked.max, asked.wait)
            if not leases:
                # While it waited, the worker may have been told to drain, or lost its token.
                caller = await self._caller(request)
        if leases or asked.settle:
            with contextlib.suppress(LedgerUnavailable):  # a note for the autoscaler: not worth the leases just given
                await self._fleet.active(caller.id)
        return answer(protocol.LeaseResponse(leases=leases, settled=settled, drain=caller.draining))

    async def complete(self, request: Request) -> Response:
        """Settle one lease whose object was processed, or was found unchanged."""
        return await self._settle_one(request, protocol.CompleteRequest)

    async def fail(self, request: Request) -> Response:
        """Settle one lease whose object could not be processed, is absent, or is given back."""
        return await self._settle_one(request, protocol.FailRequest)

    async def heartbeat(self, request: Request) -> Response:
        """Extend a lease."""
        caller = await self._caller(request)
        said = await read_model(request, protocol.HeartbeatRequest)
        live = await self._ledger.lease(_id(request), said.token, caller.id)
        if live is None or live.pipeline_id not in self._routes.pipelines:
            raise _lost()
        seconds = self._routes.pipelines[live.pipeline_id][1].lease_seconds
        again = await self._ledger.extend(live.id, live.token, caller.id, seconds)
        if again is None:
            raise _lost()
        return answer(protocol.HeartbeatResponse(lease_seconds=seconds, superseded=again))

    async def outputs(self, request: Request) -> Response:
        """Presign where to put outputs."""
        caller = await self._caller(request)
        said = await read_model(request, protocol.OutputsRequest)
        said = said.model_copy(update={"modified": _believed(said.modified)})
        try:
            uploads = await self._publisher.uploads(_id(request), said, caller.id)
        except LeaseNotLive:
            raise _lost() from None
        except KeyTooLong as error:
            await self._settle(
                caller,
                protocol.Failed(
                    id=_id(request), token=said.token, reason="key-too-long", message=str(error), retry=False
                ),
            )
            raise _lost() from None
        except ReplicaBehind as error:
            await self._settle(
                caller,
                protocol.Failed(
                    id=_id(request), token=said.token, reason="replica-behind", message=str(error), retry=True
                ),
            )
            raise _lost() from None
        except Unconditional:
            await self._settle(caller, protocol.Released(id=_id(request), token=said.token))
            raise _lost() from None
        except StoreError as error:
            raise HttpProblem(503, "store-unavailable", str(error)) from None
        return answer(protocol.OutputsResponse(uploads=uploads))

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _wait(self, request: Request, caller: Caller, most: int, wait_seconds: float) -> list[protocol.Lease]:
        pipelines = self._routes.of_pool(caller.pool)
        deadline = time.monotonic() + wait_seconds
        with self._doorbell.listening(pipelines) as bell:
            while True:
                bell.clear()
                leases = await self._claim(caller, pipelines, most)
                remaining = deadline - time.monotonic()
                if leases or remaining <= 0 or self._closing.is_set():
                    return leases
                if not await _rings(bell, remaining) or await request.is_disconnected():
                    return []

    async def _claim(self, caller: Caller, pipelines: Sequence[int], most: int) -> list[protocol.Lease]:
        """Each time another pipeline of the pool comes first, so that none starves behind a long queue."""
        turn = self._turns[caller.pool]
        self._turns[caller.pool] += 1
        claimed: list[protocol.Lease] = []
        for step in range(len(pipelines)):
            number = pipelines[(turn + step) % len(pipelines)]
            pipeline = self._routes.pipelines[number][1]
            if self._conditions.refusal(pipeline):
                continue
            try:
                rows = await self._ledger.claim(number, "work", most - len(claimed), caller.id, pipeline.lease_seconds)
            except LedgerUnavailable:
                if claimed:  # what is leased is told: else it would lie idle until its deadline
                    break
                raise
            claimed += [self._lease(row) for row in rows]
            if len(claimed) >= most:
                break
        self._metrics.leased.inc(len(claimed))
        return claimed

    def _lease(self, row: Claimed) -> protocol.Lease:
        name, pipeline = self._routes.pipelines[row.pipeline_id]
        headers = {"if-none-match": f'"{row.done_etag}"'} if row.done_etag else {}
        if pipeline.consistent_reads:
            headers[CONSISTENT] = "true"
        return protocol.Lease(
            id=row.id,
            token=row.token,
            pipeline=name,
            bucket=pipeline.input.bucket,
            key=row.key,
            handler=self._handler(row.pipeline_id),
            input=self._download(pipeline, pipeline.input.bucket, row.key, headers),
            manifest=None if row.done_etag or row.publish_started else self._manifest(pipeline, row.key),
            expected=protocol.Expected(
                etag=row.event_etag, modified=row.newest_at, after=row.done_modified, believed=row.believed
            ),
            attempt=row.attempt,
            lease_seconds=pipeline.lease_seconds,
        )

    def _manifest(self, pipeline: Pipeline, key: str) -> protocol.Download | None:
        try:
            return self._download(pipeline, pipeline.output.bucket, output_key(pipeline, key, protocol.MANIFEST), {})
        except KeyTooLong:  # then there is none
            return None

    def _download(self, pipeline: Pipeline, bucket: str, key: str, headers: dict[str, str]) -> protocol.Download:
        url = self._store.presigner.url("GET", bucket, key, expires_seconds=url_seconds(pipeline), headers=headers)
        return protocol.Download(url=url, headers=headers)

    def _handler(self, number: int) -> protocol.Handler:
        pipeline = self._routes.pipelines[number][1]
        return protocol.Handler.model_validate(
            {"kind": pipeline.handler, "options": pipeline.options, "limits": pipeline.handler_limits}
        )

    # ── settling ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _settle_one(
        self, request: Request, model: type[protocol.CompleteRequest] | type[protocol.FailRequest]
    ) -> Response:
        caller = await self._caller(request)
        said = await read_model(request, model)
        if said.root.id != _id(request):
            raise HttpProblem(422, "malformed", "the lease's id in the path and in the body differ")
        settled = await self._settle(caller, said.root)
        if not settled.accepted:
            raise _lost()
        return answer(settled)

    async def _settle(self, caller: Caller, said: protocol.Settlement) -> protocol.Settled:
        place = await self._settled(caller, said)
        accepted = place is not None
        self._metrics.settled.labels(said.outcome if accepted else "refused").inc()
        if isinstance(said, protocol.Failed) and place is not None:
            log.info(
                "object failed", pipeline=self._routes.name_of(place[0]), key=place[1], lease=said.id,
                token=said.token, worker=caller.id, reason=said.reason, message=said.message, retry=said.retry,
            )  # fmt: skip
        return protocol.Settled(id=said.id, token=said.token, accepted=accepted)

    async def _settled(self, caller: Caller, said: protocol.Settlement) -> ObjectPlace | None:
        """The object that was settled, or None where the lease is lost."""
        decided = _outcome(said)
        if not isinstance(decided, transitions.Published):
            return await self._settler.submit(Settlement(said.id, said.token, caller.id, decided))
        made = Made(said.id, said.token, caller.id, decided)
        if await self._stage.concerns(made):
            place = await self._stage.finish(made)
        else:
            place = await self._settler.submit(Settlement(said.id, said.token, caller.id, decided))
        if place is not None:
            self._leftovers.remove(said.token, decided.published)
        return place

    # ── callers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _caller(self, request: Request) -> Caller:
        token = bearer(request)
        known = self._callers.get(token)
        now = time.monotonic()
        if known is not None and known.until > now:
            return known.caller
        caller = await self._fleet.authenticate(token)
        if caller is None:
            self._callers.pop(token, None)
            raise unauthorized("this worker's token is unknown or was revoked: leave")
        if len(self._callers) >= _MAX_CALLERS:
            self._callers = {t: k for t, k in self._callers.items() if k.until > now}
        self._callers[token] = _Known(caller, now + _CALLER_SECONDS)
        return caller


async def _rings(bell: asyncio.Event, timeout_seconds: float) -> bool:
    try:
        await asyncio.wait_for(bell.wait(), timeout_seconds)
    except TimeoutError:
        return False
    return True


def _outcome(said: protocol.Settlement) -> transitions.Outcome:
    match said:
        case protocol.Done():
            return _result(said.fetched, said.outputs)
        case protocol.Unchanged():
            return transitions.SameContent(_result(said.fetched, said.outputs) if said.fetched else None)
        case protocol.Absent():
            return transitions.NotFound()
        case protocol.Failed():
            return transitions.Failure(said.reason, said.message, said.retry, said.log)
        case protocol.Released():
            return transitions.Returned()


def _result(fetched: protocol.Version, outputs: Sequence[protocol.Output]) -> transitions.Published:
    return transitions.Published(
        fetched.etag, _believed(fetched.modified), {output.name: output.etag for output in outputs}
    )


def _believed(modified: datetime | None) -> datetime | None:
    """Last-Modified in UTC, if it can be one. Raises Problem 422."""
    try:
        return believed(modified)
    except OverflowError:
        raise HttpProblem(422, "malformed", "fetched.modified is out of range") from None


def _id(request: Request) -> int:
    """The lease's number. Raises Problem 404."""
    text: str = request.path_params["id"]
    if text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) < 2**63:
        return int(text)
    raise HttpProblem(404, "unknown-lease", "there is no lease of that number")


def _lost() -> HttpProblem:
    return HttpProblem(409, "lease-lost", "the lease is not yours any more: nothing was changed. Drop the work")
