"""Serves the worker protocol: calling home, leasing, heartbeats, presigned outputs, settling.

A lease's fencing token is checked by the statement that changes a row, never before it: between a check and a change
the lease could be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from weakref import WeakValueDictionary

import structlog
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.auth import WorkerAuth, bearer, unauthorized
from webhook.api.connections import proven
from webhook.api.http import HELLO_BODY_BYTES, HttpProblem, json_response, path_id, read_model
from webhook.api.lease_messages import LeaseMessages
from webhook.api.worker_calls import LongPoll
from webhook.config import Pipeline
from webhook.events import plausible_modified
from webhook.fleet.manual_workers import MANUAL
from webhook.ledger import transitions
from webhook.ledger.callers import Caller
from webhook.ledger.coalescing import ObjectPlace
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.fleet import LedgerFleet, PoolFull
from webhook.ledger.ledger import Ledger, Settlement
from webhook.ledger.machines import HandlingReport
from webhook.ledger.run_logs import EndedRun, RunLogs
from webhook.ledger.transitions import Lane
from webhook.ledger.wakeups import Wakeups
from webhook.metrics import Metrics
from webhook.models.catalogue import ModelCatalogue
from webhook.outputs.fencing import LeaseNotLive
from webhook.outputs.publishing import CannotPublish, Publishing
from webhook.outputs.requested import OutputsRefused
from webhook.pipelines import Pipelines
from webhook.pool_settings import Pool
from webhook.proxy.orders import OrderBook
from webhook.storage import StoreError
from workers import protocol

log = structlog.get_logger()

_WITHOUT_HANDLER = frozenset(
    {"store", "replica-behind", "archived", "encrypted", "too-large", "protocol", "agent-fault"}
)
"""Reasons of failures that may come before the handler is started."""


class LeaseApi:
    """Endpoints of the worker protocol."""

    def __init__(
        self,
        ledger: Ledger,
        fleet: LedgerFleet,
        pipelines: Pipelines,
        pools: Mapping[str, Pool],
        publishing: Publishing,
        messages: LeaseMessages,
        wakeups: Wakeups,
        metrics: Metrics,
        auth: WorkerAuth,
        catalogue: ModelCatalogue,
        orders: OrderBook,
        withheld: Callable[[Pipeline], str],
        logs: RunLogs,
    ) -> None:
        """``withheld`` says why no work of a pipeline may be handed out; empty where it may."""
        self._ledger = ledger
        self._fleet = fleet
        self._pipelines = pipelines
        self._pools = pools
        self._publishing = publishing
        self._messages = messages
        self._wakeups = wakeups
        self._metrics = metrics
        self._auth = auth
        self._catalogue = catalogue
        self._orders = orders
        self._withheld = withheld
        self._logs = logs
        self._turns: Counter[str] = Counter()
        self._claiming: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        """By worker. Of two claims at once neither would count the other's leases."""
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Answer all long polls now, and later ones at once: the server is about to leave."""
        self._closing.set()
        self._wakeups.wake()

    # ── endpoints ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def hello(self, request: Request) -> Response:
        """Exchange a one-time token, an invitation or a worker's credential for a token of all further calls."""
        one_time_token = bearer(request)
        if not await self._fleet.may_call_home(one_time_token):  # before the body: any client can send one
            raise _no_admission()
        proven(request.scope)
        hello = await read_model(request, protocol.Hello, HELLO_BODY_BYTES)
        try:
            arrival = await self._fleet.hello(
                one_time_token, hello.instance, returns=hello.returns, unjailed=hello.unjailed, serves=hello.serves,
                process_seconds=hello.process_seconds,
            )  # fmt: skip
        except PoolFull as full:
            raise HttpProblem(409, "pool-full", str(full)) from None
        if arrival is None:
            raise _no_admission()
        pool = self._pools.get(arrival.pool, Pool())
        log.info("worker called home", worker=arrival.id, pool=arrival.pool, label=arrival.label)
        return json_response(
            protocol.Welcome(
                worker=arrival.id,
                pool=arrival.pool,
                token=arrival.token,
                slots=arrival.slots,
                # A worker that a person started stays until a person ends it.
                idle_seconds=None if arrival.provider == MANUAL else pool.worker_idle_seconds,
                orphan_seconds=pool.orphan_seconds,
                credential=arrival.credential,
                models=self._catalogue.refs(self._pipelines.models_of_pool(arrival.pool)),
                checks=tuple(self._pipelines.checks_of_pool(arrival.pool)),
                services=await self._orders.arrived(arrival.pool, arrival.id, arrival.label),
            )
        )

    async def lease(self, request: Request) -> Response:
        """Settle what is finished, and lease what is due."""
        async with self._auth.call(request) as caller:
            message = await read_model(request, protocol.LeaseRequest)
            waits = message.max > 0 and message.wait > 0
            with self._auth.calls.polling(caller.id) if waits else contextlib.nullcontext(LongPoll()) as poll:
                return json_response(await self._settled_and_leased(request, caller, message, poll))

    async def complete(self, request: Request) -> Response:
        """Settle one lease whose object was processed, or was found unchanged."""
        return await self._settle_one(request, protocol.CompleteRequest)

    async def fail(self, request: Request) -> Response:
        """Settle one lease whose object could not be processed, is absent, or is given back."""
        return await self._settle_one(request, protocol.FailRequest)

    async def heartbeat(self, request: Request) -> Response:
        """Renew a lease."""
        async with self._auth.call(request) as caller:
            message = await read_model(request, protocol.HeartbeatRequest)
            return json_response(await self._renewed(caller, _id(request), message))

    async def _renewed(
        self, caller: Caller, lease_id: int, message: protocol.HeartbeatRequest
    ) -> protocol.HeartbeatResponse:
        live = await self._ledger.lease(lease_id, message.token, caller.id)
        known = await self._pipelines.of_lease(live) if live else None
        if live is None or known is None:
            raise _lost()
        _, pipeline = known
        renewed = await self._ledger.extend(
            live.id, live.token, caller.id, pipeline.lease_seconds, pipeline.longest_lease_seconds
        )
        if renewed is None:
            raise _lost()
        if (handling := _handling(message.handling)) is not None:
            # Committed before the answer: the worker lets a lease on trial into its handler once it has that.
            await self._fleet.report_handling(caller.id, handling)
        return protocol.HeartbeatResponse(lease_seconds=renewed.left_seconds, superseded=renewed.superseded)

    async def outputs(self, request: Request) -> Response:
        """Presign PUTs of a lease's outputs."""
        async with self._auth.call(request) as caller:
            outputs = await read_model(request, protocol.OutputsRequest)
            return await self._presigned(caller, _id(request), outputs)

    async def _presigned(self, caller: Caller, lease_id: int, outputs: protocol.OutputsRequest) -> Response:
        outputs = outputs.model_copy(update={"modified": _believed(outputs.modified)})
        try:
            uploads = await self._publishing.uploads(lease_id, outputs, caller.id)
        except CannotPublish as refused:
            await self._settle(Settlement(lease_id, outputs.token, caller.id, refused.outcome))
            raise _lost() from None
        except LeaseNotLive:
            raise _lost() from None
        except OutputsRefused as refused:
            return json_response(protocol.RefusedOutputs(error=refused.reason, message=str(refused)), 422)
        except StoreError as error:
            raise HttpProblem(503, "store-unavailable", str(error)) from None
        return json_response(protocol.OutputsResponse(uploads=uploads))

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _settled_and_leased(
        self, request: Request, caller: Caller, message: protocol.LeaseRequest, poll: LongPoll
    ) -> protocol.LeaseResponse:
        # All at once, so that the ledger writes them in one transaction.
        # Settled first: the objects that become due again by it may be leased in the same call.
        settled = await asyncio.gather(*(self._settle_message(caller, item) for item in message.settle))
        leases: list[protocol.Lease] = []
        if self._wakeups.has_orders(caller.id):
            self._auth.forget(caller.id)
            caller = await self._auth.caller(request)
        if message.max and not caller.asked:
            await self._fleet.asked(caller.id)
        if message.max and not caller.draining:
            if message.handlers_changed and (caller.paused or caller.trying):
                await self._fleet.handlers_changed(caller.id)
                self._auth.forget(caller.id)
            # The settlements, too, may have said which handlers can run.
            caller = await self._auth.caller(request)
            leases = await self._wait(request, caller, message, poll)
            if not leases:
                # Meanwhile the worker may have been set to drain, or its token revoked.
                caller = await self._auth.caller(request)
        if leases or message.settle:
            with contextlib.suppress(LedgerUnavailable):  # the autoscaler's note must not cost the leases just given
                result = any(
                    one.accepted and isinstance(item, protocol.Done)
                    for one, item in zip(settled, message.settle, strict=True)
                )
                if message.load_seconds is not None:  # first: it counts up to the result
                    await self._fleet.loaded(caller.id, message.load_seconds)
                await self._fleet.active(caller.id, _handling(message.handling), result=result)
        orders = self._orders.orders(caller.label, caller.service)
        news = orders if orders.digest != message.services_seen else None
        return protocol.LeaseResponse(leases=leases, settled=settled, drain=caller.draining, services=news)

    async def _wait(
        self, request: Request, caller: Caller, message: protocol.LeaseRequest, poll: LongPoll
    ) -> list[protocol.Lease]:
        deadline = time.monotonic() + message.wait
        while not poll.ended:
            pipelines = self._pipelines.of_pool(caller.pool)  # in each turn: others may be defined now
            # Before the claim: what becomes due during it must wake.
            with self._wakeups.listening(pipelines, caller.id) as wakeup:
                poll.wakeup = wakeup
                async with self._claiming.setdefault(caller.id, asyncio.Lock()):
                    leases = await self._claim(caller, pipelines, message.max)
                remaining = deadline - time.monotonic()
                if wakeup.ordered:
                    self._auth.forget(caller.id)
                    return leases
                # In each turn: another service, or a newer version of its model, may have woken this poll.
                other = self._orders.orders(caller.label, caller.service).digest != message.services_seen
                if leases or other or remaining <= 0 or self._closing.is_set():
                    return leases
                if not await self._wakeups.wait(wakeup, remaining) or await request.is_disconnected():
                    return []
        return []

    async def _claim(self, caller: Caller, pipelines: Sequence[int], most: int) -> list[protocol.Lease]:
        """Claim due objects. The pool's pipelines take turns at being first, so none starves behind a long queue.

        An object on trial goes before the others, and alone: its worker works on no other meanwhile.
        """
        if caller.kept:  # by a service
            return []
        turn = self._turns[caller.pool] % max(len(pipelines), 1)
        self._turns[caller.pool] += 1
        in_turn = [*pipelines[turn:], *pipelines[:turn]]
        on_trial = [number for number in in_turn if number in self._wakeups.trials][:1]
        steps: list[tuple[int, Lane, int]] = [(number, "trial", 1) for number in on_trial]
        steps += [(number, "work", most) for number in in_turn]
        claimed: list[protocol.Lease] = []
        for number, lane, limit in steps:
            if number not in self._pipelines.by_id:  # it was removed during this call
                continue
            named, definition = self._pipelines.by_id[number], self._pipelines.definitions.get(number)
            _, pipeline = named
            if number in caller.paused or self._withheld(pipeline):
                continue
            count = min(limit, 1 if number in caller.trying else most - len(claimed))
            try:
                rows = await self._ledger.claim(number, lane, count, caller.id, pipeline.lease_seconds, definition)
            except LedgerUnavailable:
                if claimed:  # return what is leased: else it would lie idle until its deadline
                    break
                raise
            claimed += [self._messages.lease(row, named, caller.usd_per_hour) for row in rows]
            if len(claimed) >= most or (claimed and lane == "trial"):
                break
        self._metrics.leased.inc(len(claimed))
        return claimed

    # ── settling ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _settle_one(
        self, request: Request, model: type[protocol.CompleteRequest] | type[protocol.FailRequest]
    ) -> Response:
        async with self._auth.call(request) as caller:
            message = await read_model(request, model)
            if message.root.id != _id(request):
                raise HttpProblem(422, "malformed", "the lease's id in the path and in the body differ")
            settled = await self._settle_message(caller, message.root)
            if not settled.accepted:
                raise _lost()
            return json_response(settled)

    async def _settle_message(self, caller: Caller, message: protocol.Settlement) -> protocol.Settled:
        place = await self._settle(Settlement(message.id, message.token, caller.id, _outcome(message, caller.id)))
        if place is not None:
            with contextlib.suppress(LedgerUnavailable):  # a note for later leases, not for this one
                await self._note_handler(caller, place[0], message)
            with contextlib.suppress(LedgerUnavailable):  # for people
                await self._note_log(caller, place, message)
        return protocol.Settled(id=message.id, token=message.token, accepted=place is not None)

    async def _note_log(self, caller: Caller, place: ObjectPlace, message: protocol.Settlement) -> None:
        """Keep what the run printed, and how it failed."""
        if isinstance(message, protocol.Failed):
            run = EndedRun(*place, caller.id, message.log, message.reason, message.message, message.retry)
            await self._logs.add(run)
        elif isinstance(message, protocol.Done) and message.log:
            await self._logs.add(EndedRun(*place, caller.id, message.log))

    async def _note_handler(self, caller: Caller, pipeline_id: int, message: protocol.Settlement) -> None:
        """Note whether the pipeline's handler can run on the worker, where the settlement shows that."""
        if isinstance(message, protocol.Released) and message.without_handler:
            log.warning(
                "handler unavailable",
                pipeline=self._pipelines.name_of(pipeline_id), worker=caller.id, message=message.unavailable,
            )  # fmt: skip
            await self._fleet.handler_unavailable(caller.id, pipeline_id, message.unavailable)
            self._auth.forget(caller.id)
        elif pipeline_id in caller.paused | caller.trying and _has_run(message):
            await self._fleet.handler_available(caller.id, pipeline_id)
            self._auth.forget(caller.id)

    async def _settle(self, settlement: Settlement) -> ObjectPlace | None:
        """Settle a lease. Returns its object, or None where it was lost before and nothing was changed."""
        place = await self._publishing.settle(settlement)
        outcome = settlement.outcome
        self._metrics.settled.labels(outcome.name if place else "refused").inc()
        if isinstance(outcome, transitions.Failure) and place is not None:
            log.info(
                "object failed", pipeline=self._pipelines.name_of(place[0]), key=place[1], lease=settlement.id,
                token=settlement.token, worker=settlement.worker_id, reason=outcome.reason, message=outcome.message,
                retry=outcome.retry,
            )  # fmt: skip
        return place


def _has_run(message: protocol.Settlement) -> bool:
    """Whether a settlement proves that the handler was started."""
    if isinstance(message, protocol.Failed):
        return message.reason not in _WITHOUT_HANDLER
    return isinstance(message, protocol.Done)


def _handling(report: protocol.Handling | None) -> HandlingReport | None:
    return None if report is None else HandlingReport(report.number, report.tokens, report.alone)


def _outcome(message: protocol.Settlement, worker_id: int) -> transitions.Outcome:
    match message:
        case protocol.Done():
            return _result(message.fetched, message, worker_id)
        case protocol.Unchanged():
            fetched = message.fetched
            return transitions.SameContent(_result(fetched, message, worker_id) if fetched else None)
        case protocol.Absent():
            return transitions.NotFound()
        case protocol.Failed():
            return transitions.Failure(message.reason, message.message, message.retry, message.log)
        case protocol.Released():
            return transitions.LeaseReleased(message.without_handler)


def _result(
    fetched: protocol.Version, message: protocol.Done | protocol.Unchanged, worker_id: int
) -> transitions.Published:
    published = {output.name: output.etag for output in message.outputs}
    return transitions.Published(fetched.etag, _believed(fetched.modified), published, worker_id, message.verdict)


def _believed(modified: datetime | None) -> datetime | None:
    """Last-Modified in UTC, if it can be one. Raises HttpProblem 422."""
    try:
        return plausible_modified(modified)
    except OverflowError:
        raise HttpProblem(422, "malformed", "fetched.modified is out of range") from None


def _id(request: Request) -> int:
    """The lease's number. Raises HttpProblem 404."""
    return path_id(request, HttpProblem(404, "unknown-lease", "there is no lease of that number"))


def _no_admission() -> HttpProblem:
    return unauthorized(
        "this one-time token or credential is unknown, expired, revoked, or was used by another process. For a worker "
        "that you start yourself, `yurt invite` makes another"
    )


def _lost() -> HttpProblem:
    return HttpProblem(409, "lease-lost", "the lease is not yours any more: nothing was changed. Drop the work")
