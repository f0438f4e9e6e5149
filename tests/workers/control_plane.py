"""A stub of the control plane and of a store over real HTTP, for the agent's tests.

It keeps the rules that an agent may rely on (fencing tokens, conditions on PUT, one-time tokens) and records every
request in ``events``, in order. Tests wait for conditions on it, never for time to pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

import uvicorn
from pydantic import BaseModel, JsonValue
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from workers.protocol import (
    BundleSource,
    Download,
    Expected,
    Failed,
    Handler,
    Handling,
    HeartbeatRequest,
    HeartbeatResponse,
    Hello,
    Lease,
    LeaseRequest,
    LeaseResponse,
    Limits,
    ModelRef,
    ModelSources,
    OutputRequest,
    OutputsRequest,
    OutputsResponse,
    Problem,
    ProgressAnswer,
    SandboxRules,
    ServiceOrder,
    ServiceOrders,
    ServiceReport,
    ServiceReportAnswer,
    Settled,
    Settlement,
    Upload,
    Welcome,
    WorkerProgress,
)

TIMEOUT_SECONDS = 30.0
"""After this time a test that still waits has failed."""
ONE_TIME_TOKEN = "one-time-token-0123456789"
CREDENTIAL = "credential-0123456789"
WORKER_TOKEN = "worker-token-0123456789"
MODIFIED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LIMITS = Limits(wall_seconds=60, cpu_seconds=60, memory_bytes=2 << 30, input_bytes=10 << 20, output_bytes=100 << 20)
COPY = 'cp "$0" copy.txt'
"""A command that publishes its input."""

Event = tuple[str | int, ...]


def shell(script: str, *arguments: str, limits: Limits = LIMITS) -> Handler:
    """Runs ``script`` with the input's path as ``$0`` in the output folder; not jailed: it tells tests its state."""
    argv: list[JsonValue] = ["/bin/sh", "-ec", script, "{input}", *arguments]
    return Handler(kind="command", options={"argv": argv}, limits=limits, sandbox=SandboxRules(mode="off"))


@dataclass
class ServedContent:
    """An object in the stub's store."""

    data: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()


class StubControlPlane:
    """Grants the leases that a test has ``offer``-ed, and keeps their settlements. ``store`` is both buckets in one."""

    def __init__(self, **welcome: float) -> None:
        self.url = ""
        self.welcome: dict[str, object] = {"slots": 1, "idle_seconds": 3600.0, "orphan_seconds": 600.0, **welcome}
        self.lease_seconds = 60.0
        self.events: list[Event] = []
        self.settled: dict[int, Settlement] = {}
        """By fencing token."""
        self.store: dict[str, ServedContent] = {}
        self.models: dict[str, Callable[[], ModelSources]] = {}
        """Gives the sources of a model, by its root."""
        self.bundles: dict[str, BundleSource] = {}
        self.models_of_pool: tuple[ModelRef, ...] = ()
        self.progress: list[WorkerProgress] = []
        self.orders: tuple[ServiceOrder, ...] = ()
        """Of services; see ``order``."""
        self.reports: list[ServiceReport] = []
        self.lost: set[int] = set()
        """Tokens of leases that are no longer live."""
        self.misunderstood: set[int] = set()
        """Tokens of settlements that make the whole request malformed."""
        self.load_seconds: list[float | None] = []
        """Of each request for leases."""
        self.handling: list[Handling] = []
        self.unjailed = ""
        """Reports of what is in the handler."""
        self.gives_up_after = math.inf
        """Seconds after which a proxy in between answers a long poll with 504."""
        self.revoked = self.draining = self.credential_revoked = False
        self.faults: dict[str, list[Response]] = defaultdict(list)
        """Responses to give first, by ``METHOD path``."""
        self.held: dict[str, asyncio.Event] = {}
        """Requests that wait for an event, by ``METHOD path``."""
        self.offers_to_replace = False
        """Whether the first PUT offered for an output that exists has the condition to replace it."""
        self.renamed_outputs: dict[str, str] = {}
        """Names to answer with, in place of those requested."""
        self._instance = ""
        self._queue: list[Lease] = []
        self._leases: dict[int, Lease] = {}
        self._changed = asyncio.Event()

    # ── what tests do ───────────────────────────────────────────────────────────────────────────────────────

    def offer(
        self,
        key: str,
        handler: Handler | None = None,
        *,
        data: bytes | None = b"content",
        id: int | None = None,
        known_etag: str = "",
        expected: Expected | None = None,
        manifest: bool = False,
        url: str = "",
        trial: bool = False,
        models: tuple[ModelRef, ...] = (),
        usd_per_hour: str | None = None,
    ) -> Lease:
        """Put an object into the store (unless ``data`` is None) and grant its lease to the next request."""
        number = len(self._leases) + 1
        if data is not None:
            self.store[f"in/{key}"] = ServedContent(data)
        lease = Lease(
            id=id or number,
            token=1000 + number,
            pipeline="photos",
            bucket="in",
            key=key,
            handler=handler or shell(COPY),
            input=Download(
                url=url or f"{self.url}/store/in/{key}?X-Amz-Signature=secret",
                headers={"If-None-Match": f'"{known_etag}"'} if known_etag else {},
            ),
            manifest=Download(url=f"{self.url}/store/out/{key}/result.json") if manifest else None,
            expected=expected or Expected(),
            attempt=1,
            trial=trial,
            models=models,
            lease_seconds=self.lease_seconds,
            usd_per_hour=usd_per_hour,
        )
        self._leases[lease.token] = lease
        self._queue.append(lease)
        self._notify()
        return lease

    def order(self, *orders: ServiceOrder) -> None:
        """Have the agent run the servers of these services, and no others."""
        self.orders = orders
        self._notify()

    @property
    def _services(self) -> ServiceOrders:
        digest = hashlib.sha256(repr(self.orders).encode()).hexdigest() if self.orders else ""
        return ServiceOrders(digest=digest, orders=self.orders)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition():
                await self._changed.wait()

    async def settlement(self, lease: Lease) -> Settlement:
        await self.until(lambda: lease.token in self.settled)
        return self.settled[lease.token]

    async def failure(self, lease: Lease) -> Failed:
        settlement = await self.settlement(lease)
        assert isinstance(settlement, Failed)
        return settlement

    def expect_another_instance(self) -> None:
        """Accept the one-time token once more, from another process."""
        self._instance = ""

    def seen(self, *event: str | int) -> bool:
        return event in self.events

    def of_kind(self, *kinds: str) -> list[Event]:
        return [event for event in self.events if event[0] in kinds]

    # ── what agents see ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/workers/hello", self._hello, methods=["POST"]),
                Route("/v1/workers/progress", self._progress, methods=["POST"]),
                Route("/v1/bundles/{root}", self._bundle, methods=["GET"]),
                Route("/v1/services/{name}/report", self._report, methods=["POST"]),
                Route("/v1/models/{root}", self._model, methods=["GET"]),
                Route("/v1/leases", self._lease, methods=["POST"]),
                Route("/v1/leases/{id:int}/heartbeat", self._heartbeat, methods=["POST"]),
                Route("/v1/leases/{id:int}/outputs", self._outputs, methods=["POST"]),
                Route("/store/{path:path}", self._get, methods=["GET"]),
                Route("/store/{path:path}", self._put, methods=["PUT"]),
            ]
        )

    async def _hello(self, request: Request) -> Response:
        hello = Hello.model_validate_json(await request.body())
        returning = _bearer(request) == CREDENTIAL
        self._event("hello", "credential" if returning else "once")
        self.unjailed = hello.unjailed
        if returning and self.credential_revoked:
            return _problem(401, "unauthorized", "the credential was revoked")
        if returning:  # the process before is over
            self._instance = hello.instance
        self._instance = self._instance or hello.instance  # used up even when the response is lost
        if (fault := await self._disturb(request)) is not None:
            return fault
        if _bearer(request) not in (ONE_TIME_TOKEN, CREDENTIAL) or self._instance != hello.instance:
            return _problem(401, "unauthorized", "the token was used")
        welcome = {"worker": 7, "pool": "cpu", "token": WORKER_TOKEN, "credential": CREDENTIAL if hello.returns else ""}
        return _json(
            Welcome.model_validate(welcome | self.welcome | {"models": self.models_of_pool, "services": self._services})
        )

    async def _progress(self, request: Request) -> Response:
        self.progress.append(WorkerProgress.model_validate_json(await request.body()))
        self._event("progress", self.progress[-1].model)
        if (fault := await self._disturb(request)) is not None:
            return fault
        if self.revoked:
            return _problem(401, "unauthorized", "the token was revoked")
        return _json(ProgressAnswer(drain=self.draining))

    async def _bundle(self, request: Request) -> Response:
        if (found := self.bundles.get(request.path_params["root"])) is None:
            return _problem(404, "unknown-bundle", "no function of this worker's pool has such a bundle")
        return _json(found)

    async def _report(self, request: Request) -> Response:
        self.reports.append(ServiceReport.model_validate_json(await request.body()))
        self._event("report", request.path_params["name"], self.reports[-1].state)
        if (fault := await self._disturb(request)) is not None:
            return fault
        return _json(ServiceReportAnswer(drain=self.draining))

    async def _model(self, request: Request) -> Response:
        root = request.path_params["root"]
        self._event("model", root)
        if (fault := await self._disturb(request)) is not None:
            return fault
        if root not in self.models:
            return _problem(404, "no-such-model", "no pipeline names this version any more")
        return _json(self.models[root]())

    async def _lease(self, request: Request) -> Response:
        wanted = LeaseRequest.model_validate_json(await request.body())
        self._event("ask", wanted.max, len(wanted.settle))
        self.load_seconds.append(wanted.load_seconds)
        if wanted.handlers_changed:
            self._event("handlers-changed")
        self.handling += [wanted.handling] if wanted.handling else []
        if (fault := await self._disturb(request)) is not None:
            return fault
        if self.misunderstood & {settlement.token for settlement in wanted.settle}:
            return _problem(422, "malformed", "a settlement is malformed")
        settled = [self._settle(settlement) for settlement in wanted.settle]
        patience = min(wanted.wait, self.gives_up_after)
        try:
            async with asyncio.timeout(patience):
                while wanted.max and not self._has_news(wanted):
                    await self._changed.wait()
        except TimeoutError:
            if patience < wanted.wait:
                return Response("a proxy's page", status_code=504)
        if self.revoked:
            return _problem(401, "unauthorized", "the token was revoked")
        if await request.is_disconnected():
            return _problem(400, "disconnected", "")
        leases, self._queue = self._queue[: wanted.max], self._queue[wanted.max :]
        for lease in leases:
            self._event("lease", lease.key)
        news = self._services if wanted.services_seen != self._services.digest else None
        return _json(LeaseResponse(leases=leases, settled=settled, drain=self.draining, services=news))

    def _has_news(self, wanted: LeaseRequest) -> bool:
        other = wanted.services_seen != self._services.digest
        return bool(self._queue or self.draining or self.revoked or other)

    def _settle(self, settlement: Settlement) -> Settled:
        token = settlement.token
        accepted = token in self._leases and token not in self.lost and token not in self.settled
        if accepted:
            self.settled[token] = settlement
            self._event("settled", self._leases[token].key, settlement.outcome)
        return Settled(id=settlement.id, token=token, accepted=accepted)

    async def _heartbeat(self, request: Request) -> Response:
        message = HeartbeatRequest.model_validate_json(await request.body())
        self._event("heartbeat", self._leases[message.token].key)
        self.handling += [message.handling] if message.handling else []
        if (fault := await self._refusal(request, message.token)) is not None:
            return fault
        return _json(HeartbeatResponse(lease_seconds=self.lease_seconds, superseded=False))

    async def _outputs(self, request: Request) -> Response:
        message = OutputsRequest.model_validate_json(await request.body())
        lease = self._leases[message.token]
        self._event("outputs", lease.key, *(output.name for output in message.outputs))
        if (fault := await self._refusal(request, message.token)) is not None:
            return fault
        return _json(OutputsResponse(uploads=[self._offer_upload(lease, output) for output in message.outputs]))

    def _offer_upload(self, lease: Lease, output: OutputRequest) -> Upload:
        path = f"out/{lease.key}/{output.name}"
        headers = {"content-type": output.content_type, "if-none-match": "*"}
        if (output.conflict or self.offers_to_replace) and path in self.store:
            headers = {"content-type": output.content_type, "if-match": f'"{self.store[path].etag}"'}
        name = self.renamed_outputs.get(output.name, output.name)
        return Upload(name=name, url=f"{self.url}/store/{path}?X-Amz-Signature=secret", headers=headers)

    async def _refusal(self, request: Request, token: int) -> Response | None:
        if self.revoked:
            return _problem(401, "unauthorized", "the token was revoked")
        if token in self.lost:
            return _problem(409, "lease-lost", "the lease is not yours")
        return await self._disturb(request)

    # ── the store ───────────────────────────────────────────────────────────────────────────────────────────

    async def _get(self, request: Request) -> Response:
        path = request.path_params["path"]
        self._event("get", path)
        if (fault := await self._disturb(request)) is not None:
            return fault
        if (content := self.store.get(path)) is None:
            return Response("<Error><Code>NoSuchKey</Code></Error>", 404)
        headers = {"ETag": f'"{content.etag}"', "Last-Modified": format_datetime(MODIFIED, usegmt=True)}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(content.data, headers=headers | content.headers)

    async def _put(self, request: Request) -> Response:
        path = request.path_params["path"]
        self._event("put", path)
        if (fault := await self._disturb(request)) is not None:
            return fault
        try:
            data = await request.body()
        except ClientDisconnect:
            self._event("put-cut", path)
            return Response(status_code=400)
        existing = self.store.get(path)
        match = request.headers.get("if-match")
        if (match and (existing is None or match != f'"{existing.etag}"')) or (not match and existing is not None):
            return Response("<Error><Code>PreconditionFailed</Code></Error>", 412)
        self.store[path] = ServedContent(data, {"content-type": request.headers["content-type"]})
        self._event("stored", path)
        return Response(headers={"ETag": f'"{self.store[path].etag}"'})

    async def _disturb(self, request: Request) -> Response | None:
        name = f"{request.method} {request.url.path}"
        if (gate := self.held.get(name)) is not None:
            await gate.wait()
        return self.faults[name].pop(0) if self.faults[name] else None

    def _event(self, *event: str | int) -> None:
        self.events.append(event)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _bearer(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")


def _problem(status: int, error: str, message: str) -> Response:
    return Response(Problem(error=error, message=message).model_dump_json(), status)


# ── the server ──────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def served(plane: StubControlPlane, port: int = 0) -> AsyncIterator[StubControlPlane]:
    """The control plane over HTTP on loopback, in this event loop; what hangs is cut at the end."""
    # With its protocol named, or asyncio leaves Nagle's algorithm on: 40 ms for each answer.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        plane.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(plane.app, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=0)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield plane
        finally:
            server.should_exit = True
            await task
