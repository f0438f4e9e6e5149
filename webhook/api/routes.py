"""Routes requests by the table of all endpoints. The OpenAPI document is made from it too (``webhook.api.openapi``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from webhook.api import cors
from webhook.api.answers import AnswerApi, AnswerQuery, ServiceAnswer
from webhook.api.bootstrap import BootstrapApi
from webhook.api.bundles import BundleApi, BundleOffer, BundleRequest
from webhook.api.callbacks import (
    CallbackApi,
    CallbackFilter,
    CallbackPage,
    CallbackReplay,
    CallbacksReplayed,
    CallbackStatus,
)
from webhook.api.calls import BegunCalls, CallApi, CallIds, CallsOffer, CallsRequest, CallsStatus, CallsWait
from webhook.api.costs import CostApi, CostFilter, Costs
from webhook.api.deployments import (
    ComparisonRequest,
    DefinitionList,
    Deployment,
    DeploymentApi,
    DeploymentDetails,
    DeploymentList,
    DeploymentRequest,
    RemovalQuery,
    RollbackRequest,
    VersionFilter,
)
from webhook.api.event_stream import EventApi, EventQuery
from webhook.api.foreign_pages import ForeignPages
from webhook.api.health import HealthApi
from webhook.api.http import on_problem
from webhook.api.leases import LeaseApi
from webhook.api.machines import (
    MachineApi,
    MachineFilter,
    MachineLog,
    MachinePage,
    MachineStatus,
    StrangerChoice,
    StrangerStatus,
)
from webhook.api.models import ModelApi
from webhook.api.notifications import NotificationApi, Receipt
from webhook.api.object_deletion import DeletedObject, ObjectDeletionApi
from webhook.api.objects import ObjectApi, ObjectListQuery, ObjectPage, ObjectQuery, ObjectReport
from webhook.api.parked import Moving, ParkedApi, ParkedChoice, ParkedDetails, ParkedFilter, ParkedPage
from webhook.api.pools import PoolApi, WakeRequest, WokenPool
from webhook.api.quarantine import (
    QuarantineApi,
    QuarantineChoice,
    QuarantineFilter,
    QuarantinePage,
    QuarantineText,
    Replay,
)
from webhook.api.run_logs import RunLogApi, RunLogFilter, RunLogPage
from webhook.api.service_status import ServiceList, ServiceStatusApi
from webhook.api.services import ServiceApi
from webhook.api.sign_in_links import NewSignInLink, SignInLinkApi, SignInLinkRequest
from webhook.api.status import Invitation, InvitationRequest, Status, StatusApi
from webhook.api.sweeps import SweepApi, SweepFilter, SweepPage, SweepRequest, SweepStatus
from webhook.api.tickets import IssuedTicket, TicketApi, TicketRequest
from webhook.api.tokens import IssuedToken, TokenApi, TokenFilter, TokenPage, TokenRequest, TokenSelf, TokenStatus
from webhook.api.uploads import (
    AbortedUpload,
    CompletedUpload,
    MultipartStatus,
    PartsRequest,
    PartUrls,
    UploadApi,
    UploadPlan,
    UploadRequest,
)
from webhook.api.workers import DistrustedWorker, DistrustRequest, WorkersApi
from workers import protocol

Auth = Literal["none", "webhook", "once", "worker", "app", "ticket", "admin"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path: what it takes and gives, and the problems that it may answer."""

    method: str
    path: str
    call: Callable[[Request], Awaitable[Response]]
    auth: Auth
    problems: tuple[int, ...] = ()
    takes: type[BaseModel] | None = None
    gives: type[BaseModel] | None = None
    status: int = 200
    query: type[BaseModel] | None = None
    silent: bool = False
    """Whether its answer has no content."""

    media_type: str = ""
    """Of an answer that is no JSON and is described nowhere else."""

    may_be_empty: bool = False
    """Whether the body may be left out: every field that it takes has a default."""

    @property
    def documented_path(self) -> str:
        """The path without what only the router needs to know: that a key holds slashes."""
        return self.path.replace(":path", "")

    @property
    def is_open(self) -> bool:
        """Whether a client without a credential learns something from it."""
        return self.auth == "none" and not self.silent

    @property
    def is_for_apps(self) -> bool:
        """Whether web pages of any origin may call it: it takes a credential in the request, and no cookie."""
        return self.auth in ("app", "ticket")

    @property
    def summary(self) -> str:
        """First line of the endpoint's docstring, for the OpenAPI document."""
        return (self.call.__doc__ or "").partition("\n")[0]


def endpoints(
    receiver: NotificationApi,
    leases: LeaseApi,
    admin: StatusApi,
    health: HealthApi,
    parked: ParkedApi,
    quarantine: QuarantineApi,
    sweeps: SweepApi,
    workers: WorkersApi,
    machines: MachineApi,
    costs: CostApi,
    run_logs: RunLogApi,
    models: ModelApi,
    pools: PoolApi,
    bootstrap: BootstrapApi,
    tokens: TokenApi,
    sign_in_links: SignInLinkApi,
    bundles: BundleApi,
    calls: CallApi,
    tickets: TicketApi,
    uploads: UploadApi,
    events: EventApi,
    deployments: DeploymentApi,
    services: ServiceApi,
    service_status: ServiceStatusApi,
    callbacks: CallbackApi,
    objects: ObjectApi,
    answers: AnswerApi,
    deletion: ObjectDeletionApi,
) -> list[Endpoint]:
    """Build the table of all endpoints."""
    hook = "/v1/notifications/{source}"
    lease = "/v1/leases/{id}"
    machine, deployment = "/v1/machines/{id}", "/v1/deployments/{app}"
    called, answer = "/v1/functions/{name}/calls", "/v1/answers/{id}"
    upload, carried = "/v1/uploads/{id}", (401, 404, 429, 503)
    body = (401, 408, 413, 422, 503)
    held = (*body, 404, 409, 429)
    listed, shown, changed = (401, 403, 422, 503), (401, 403, 404, 503), (*body, 403)
    return [
        Endpoint("POST", hook, receiver.notify, "webhook", (400, 401, 403, 404, 408, 413, 503), gives=Receipt),
        Endpoint("GET", hook, receiver.probe, "none", (404,), silent=True),
        Endpoint("POST", "/v1/workers/hello", leases.hello, "once", body, protocol.Hello, protocol.Welcome),
        Endpoint(
            "POST", "/v1/leases", leases.lease, "worker", (*body, 429),
            protocol.LeaseRequest, protocol.LeaseResponse,
        ),
        Endpoint(
            "POST", f"{lease}/outputs", leases.outputs, "worker", held,
            protocol.OutputsRequest, protocol.OutputsResponse,
        ),
        Endpoint(
            "POST", f"{lease}/heartbeat", leases.heartbeat, "worker", held,
            protocol.HeartbeatRequest, protocol.HeartbeatResponse,
        ),
        Endpoint(
            "POST", f"{lease}/complete", leases.complete, "worker", held,
            protocol.CompleteRequest, protocol.Settled,
        ),
        Endpoint(
            "GET", "/v1/models/{root}", models.sources, "worker", (401, 404, 429, 503), gives=protocol.ModelSources,
        ),
        Endpoint(
            "POST", "/v1/workers/progress", models.progress, "worker", (*body, 429),
            protocol.WorkerProgress, protocol.ProgressAnswer,
        ),
        Endpoint(
            "POST", "/v1/services/{name}/report", services.report_service, "worker", (*body, 404, 429),
            protocol.ServiceReport, protocol.ServiceReportAnswer,
        ),
        Endpoint("POST", f"{lease}/fail", leases.fail, "worker", held, protocol.FailRequest, protocol.Settled),
        Endpoint("GET", "/v1/bootstrap/script", bootstrap.bootstrap_script, "once", (401, 503)),
        Endpoint("GET", "/v1/bootstrap/wheel", bootstrap.bootstrap_wheel, "once", (401, 503)),
        Endpoint("GET", "/v1/bootstrap/requirements", bootstrap.bootstrap_requirements, "once", (401, 503)),
        Endpoint("GET", "/v1/status", admin.status, "admin", (401, 403, 503), gives=Status),
        Endpoint(
            "POST", "/v1/invitations", admin.invite, "admin", (*body, 403, 404, 409),
            InvitationRequest, Invitation, 201,
        ),
        Endpoint(
            "POST", "/v1/workers/{id}/distrust", workers.distrust, "admin", (*changed, 404),
            DistrustRequest, DistrustedWorker,
        ),
        Endpoint("GET", "/v1/machines", machines.machines, "admin", listed, gives=MachinePage, query=MachineFilter),
        Endpoint("GET", machine, machines.machine, "admin", shown, gives=MachineStatus),
        Endpoint("GET", f"{machine}/log", machines.machine_log, "admin", (*shown, 409), gives=MachineLog),
        Endpoint("POST", f"{machine}/drain", machines.drain_machine, "admin", (*shown, 409), gives=MachineStatus),
        Endpoint("POST", f"{machine}/slay", machines.slay_machine, "admin", (*shown, 409), gives=MachineStatus),
        Endpoint(
            "POST", "/v1/pools/{pool}/wake", pools.wake, "app", (*changed, 404, 409, 429), WakeRequest, WokenPool,
            may_be_empty=True,
        ),
        Endpoint(
            "POST", "/v1/strangers/slay", machines.slay_stranger, "admin", (*changed, 404),
            StrangerChoice, StrangerStatus,
        ),
        Endpoint(
            "GET", answer, answers.show_answer, "app", (401, 403, 404, 422, 429, 503),
            gives=ServiceAnswer, query=AnswerQuery,
        ),
        Endpoint("DELETE", answer, answers.delete_answer, "app", (401, 403, 404, 429, 503), status=204, silent=True),
        Endpoint("GET", "/v1/services", service_status.list_services, "admin", (401, 403, 503), gives=ServiceList),
        Endpoint("GET", "/v1/costs", costs.costs, "admin", listed, gives=Costs, query=CostFilter),
        Endpoint(
            "GET", "/v1/logs", run_logs.run_logs, "admin", (*listed, 404), gives=RunLogPage, query=RunLogFilter,
        ),
        Endpoint(
            "GET", "/v1/parked", parked.parked, "admin", listed, gives=ParkedPage, query=ParkedFilter,
        ),
        Endpoint("GET", "/v1/parked/{id}", parked.parked_object, "admin", shown, gives=ParkedDetails),
        Endpoint("POST", "/v1/parked/redrive", parked.redrive, "admin", changed, ParkedChoice, Moving),
        Endpoint("POST", "/v1/parked/forget", parked.forget, "admin", changed, ParkedChoice, Moving),
        Endpoint(
            "GET", "/v1/callbacks", callbacks.callbacks, "admin", listed, gives=CallbackPage, query=CallbackFilter,
        ),
        Endpoint("GET", "/v1/callbacks/{id}", callbacks.callback, "admin", shown, gives=CallbackStatus),
        Endpoint(
            "POST", "/v1/callbacks/replay", callbacks.replay_callbacks, "admin", (*changed, 404),
            CallbackReplay, CallbacksReplayed,
        ),
        Endpoint(
            "GET", "/v1/quarantine", quarantine.quarantine, "admin", listed,
            gives=QuarantinePage, query=QuarantineFilter,
        ),
        Endpoint("GET", "/v1/quarantine/{id}", quarantine.quarantined, "admin", shown, gives=QuarantineText),
        Endpoint("POST", "/v1/quarantine/replay", quarantine.replay, "admin", changed, QuarantineChoice, Replay),
        Endpoint(
            "POST", "/v1/sweeps", sweeps.order_sweeps, "admin", (*changed, 404), SweepRequest, SweepPage, 201,
        ),
        Endpoint("GET", "/v1/sweeps", sweeps.list_sweeps, "admin", listed, gives=SweepPage, query=SweepFilter),
        Endpoint("GET", "/v1/sweeps/{id}", sweeps.show_sweep, "admin", shown, gives=SweepStatus),
        Endpoint("DELETE", "/v1/sweeps/{id}", sweeps.cancel_sweep, "admin", shown, gives=SweepStatus),
        Endpoint("POST", "/v1/tokens", tokens.create_token, "admin", changed, TokenRequest, IssuedToken, 201),
        Endpoint("GET", "/v1/tokens", tokens.list_tokens, "admin", listed, gives=TokenPage, query=TokenFilter),
        Endpoint("DELETE", "/v1/tokens/{id}", tokens.revoke_token, "admin", shown, gives=TokenStatus),
        Endpoint("POST", "/v1/bundles", bundles.offer_bundle, "admin", (*changed, 409), BundleRequest, BundleOffer),
        Endpoint(
            "GET", "/v1/bundles/{root}", bundles.bundle_source, "worker", (401, 404, 429, 503),
            gives=protocol.BundleSource,
        ),
        Endpoint("POST", called, calls.offer_calls, "app", (*changed, 404, 429), CallsRequest, CallsOffer),
        Endpoint("POST", f"{called}/begin", calls.begin_calls, "app", (*changed, 404, 409, 429), CallIds, BegunCalls),
        Endpoint("POST", f"{called}/wait", calls.wait_for_calls, "app", (*changed, 404, 429), CallsWait, CallsStatus),
        Endpoint("GET", "/v1/token", tokens.show_own_token, "app", (401, 429, 503), gives=TokenSelf),
        Endpoint("GET", "/v1/definitions", deployments.definitions, "admin", (401, 403, 503), gives=DefinitionList),
        Endpoint(
            "POST", "/v1/definitions/compare", deployments.compare, "admin", (*changed, 409),
            ComparisonRequest, Deployment,
        ),
        Endpoint(
            "POST", "/v1/deployments", deployments.deploy, "admin", (*changed, 409), DeploymentRequest, Deployment,
        ),
        Endpoint("GET", "/v1/deployments", deployments.deployments, "admin", (401, 403, 503), gives=DeploymentList),
        Endpoint(
            "GET", deployment, deployments.deployment, "admin", (*shown, 422),
            gives=DeploymentDetails, query=VersionFilter,
        ),
        Endpoint(
            "DELETE", deployment, deployments.remove_deployment, "admin", (*shown, 422),
            gives=Deployment, query=RemovalQuery,
        ),
        Endpoint(
            "POST", f"{deployment}/rollback", deployments.rollback, "admin", (*changed, 404, 409),
            RollbackRequest, Deployment, may_be_empty=True,
        ),
        Endpoint(
            "POST", "/v1/sign-in-links", sign_in_links.create_sign_in_link, "admin", changed,
            SignInLinkRequest, NewSignInLink, 201, may_be_empty=True,
        ),
        Endpoint(
            "POST", "/v1/tickets", tickets.create_ticket, "app", (*changed, 404, 429), TicketRequest, IssuedTicket, 201,
        ),
        Endpoint(
            "POST", "/v1/uploads", uploads.create_upload, "ticket", (*changed, 404, 409, 429),
            UploadRequest, UploadPlan, 201,
        ),
        Endpoint("GET", upload, uploads.show_upload, "ticket", carried, gives=MultipartStatus),
        Endpoint("POST", f"{upload}/parts", uploads.sign_parts, "ticket", (*body, 404, 429), PartsRequest, PartUrls),
        Endpoint(
            "POST", f"{upload}/complete", uploads.complete_upload, "ticket", (*carried, 409), gives=CompletedUpload,
        ),
        Endpoint("DELETE", upload, uploads.abort_upload, "ticket", carried, gives=AbortedUpload),
        Endpoint(
            "GET", "/v1/objects/{pipeline}", objects.list_objects, "ticket", (401, 403, 404, 422, 429, 503),
            gives=ObjectPage, query=ObjectListQuery,
        ),
        Endpoint(
            "GET", "/v1/objects/{pipeline}/{key:path}", objects.show_object, "ticket", (401, 403, 404, 422, 429, 503),
            gives=ObjectReport, query=ObjectQuery,
        ),
        Endpoint(
            "DELETE", "/v1/objects/{pipeline}/{key:path}", deletion.delete_object, "app",
            (401, 403, 404, 409, 429, 503), gives=DeletedObject,
        ),
        Endpoint(
            "GET", "/v1/events", events.events, "ticket", (401, 403, 404, 422, 429, 503), query=EventQuery,
            media_type="text/event-stream",
        ),
        Endpoint("GET", "/healthz", health.alive, "none", (403,)),
        Endpoint("GET", "/readyz", health.ready, "none", (403, 503)),
        Endpoint("GET", "/metrics", health.metrics, "none", (403,)),
        Endpoint("GET", "/openapi.json", health.openapi, "none", (403,)),
    ]  # fmt: skip


class Application:
    """Serves the table as an ASGI application, and turns an exception that ends a request into its response.

    Starlette's routing without its application: the three layers of exception handling of the latter cost a third of a
    small notification's time.
    """

    def __init__(
        self,
        table: Sequence[Endpoint],
        pages: ForeignPages,
        services: ServiceApi,
        page: Sequence[Route] = (),
        *,
        open_webhook: bool,
        sockets: Sequence[tuple[str, ASGIApp]] = (),
    ) -> None:
        """``sockets`` are WebSockets by path, ``page`` routes that are no part of the API: what people look at."""
        self.routes = [
            # GET answers HEAD as well.
            Route(
                e.path,
                _endpoint(e, pages if e.is_open or (open_webhook and e.auth == "webhook") else None),
                methods=[e.method],
                name=e.call.__name__,
            )
            for e in table
        ]
        paths = dict.fromkeys(e.path for e in table if e.is_for_apps)
        self.routes += [Route(path, cors.Preflight(), methods=["OPTIONS"]) for path in paths]
        web_sockets = [WebSocketRoute(path, app) for path, app in sockets]
        self._router = Router([*self.routes, *web_sockets, *page], default=_unknown)
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._services.takes(scope):
            serve = self._services.upgrade if scope["type"] == "websocket" else self._services.serve
            await serve(scope, receive, send)
            return
        scope["app"] = self  # the router raises what it cannot route instead of answering in plain text
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            await on_problem(error)(scope, receive, send)


async def _unknown(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(404)


def _endpoint(endpoint: Endpoint, pages: ForeignPages | None) -> ASGIApp:
    call = _Call(endpoint.call, pages)
    return cors.AnyOrigin(call) if endpoint.is_for_apps else call


class _Call:
    """One endpoint as an ASGI application."""

    def __init__(self, call: Callable[[Request], Awaitable[Response]], pages: ForeignPages | None) -> None:
        self._call = call
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            if self._pages is not None:
                self._pages.check(request)
            response = await self._call(request)
        except Exception as error:
            response = on_problem(error)
        await response(scope, receive, send)
