"""Serves requests of services at ``/services/{name}/…`` and by host name, and takes the reports of their servers."""

from __future__ import annotations

import asyncio
import functools
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from typing import NamedTuple

import structlog
from prometheus_client import Counter
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from webhook.answers.later_answers import LaterAnswers
from webhook.api.answers import PATH as ANSWERS
from webhook.api.app_auth import AppAuth, AppCaller
from webhook.api.auth import WorkerAuth, bearer_of
from webhook.api.connections import CONNECTION, proven
from webhook.api.foreign_pages import ForeignPages
from webhook.api.http import HttpProblem, json_response, on_problem, problem_of, read_body, read_model
from webhook.api.passed_on import PassedOnRequests
from webhook.ledger.services import ServiceLedger
from webhook.metrics import Metrics
from webhook.proxy.exchange import ForwardedRequest, MachineLost, ServerNonsense, UpgradeRefused
from webhook.proxy.forwarding import CutOff, Forwarding, ForwardingProblem, RequestBody, empty
from webhook.proxy.headers import TOKEN, Hop, prefers_async, request_headers
from webhook.proxy.queue import NoMachine, QueueFull, ServiceQueue, WaitedTooLong
from webhook.proxy.replica_ways import PASSED_ON
from webhook.proxy.sockets import pass_socket
from webhook.storage import StoreError
from workers import protocol

log = structlog.get_logger()

PREFIX = "/services/"
"""Begins the paths of requests to services."""
_PREFIX = PREFIX.encode()
_RETRY_SECONDS = 5
LATER_BODY_BYTES = 1 << 20
"""Of a request whose answer is fetched later: it waits in memory."""
_PUBLIC = AppCaller(0, "public", frozenset())


class Addressed(NamedTuple):
    """A request's service, and what the service's server is asked for."""

    service: str
    target: bytes
    """Path and query, as they were sent."""
    prefix: bytes
    """What was taken off the path; empty where the host names the service."""
    named: Mapping[bytes, bytes]
    """Headers by name, the last of several."""


class ServiceApi:
    """Endpoints of services. ``refusal`` says why no machine can serve a service now; empty where one can."""

    def __init__(
        self,
        queues: Mapping[str, ServiceQueue],
        ledger: ServiceLedger,
        refusal: Callable[[str], str],
        app_auth: AppAuth,
        worker_auth: WorkerAuth,
        metrics: Metrics,
        *,
        pages: ForeignPages,
        is_proxy: Callable[[str], bool],
        passed_on: PassedOnRequests,
        answers: LaterAnswers,
    ) -> None:
        self._queues = queues
        self._ledger = ledger
        self._refusal = refusal
        self._auth = app_auth
        self._worker_auth = worker_auth
        self._metrics = metrics
        self._pages = pages
        self._is_proxy = is_proxy
        self._passed_on = passed_on
        self._answers = answers
        self._by_host: Mapping[str, str] = {}
        self._of_token: defaultdict[tuple[str, int], int] = defaultdict(int)
        """Requests under way and waiting, by service and token."""
        self._counters: dict[tuple[str, str], Counter] = {}

        self.refresh()

    def refresh(self) -> None:
        """Take over which services there are now."""
        there = [(name, queue) for name, queue in self._queues.items() if not queue.retired]
        self._by_host = {host: name for name, queue in there for host in queue.settings.hosts}
        self._metrics.show_services({name: functools.partial(getattr, queue, "load") for name, queue in there})

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def takes(self, scope: Scope) -> bool:
        """Whether a request is for a service."""
        path: str = scope["path"]
        return path.startswith((PREFIX, PASSED_ON)) or (
            bool(self._by_host) and self._hosted(dict(scope["headers"])) is not None
        )

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request to a service."""
        try:
            if scope["path"].startswith(PASSED_ON):
                passing = self._passed_on.serve(scope, receive, send, _content_length(dict(scope["headers"])))
                await _while_connected(scope, passing)
            else:
                await self._serve(scope, receive, send)
        except CutOff as error:
            log.warning("answer cut off", path=scope["path"], error=str(error))
            await _abort(scope)
        except Exception as error:
            await on_problem(_problem(error))(scope, receive, send)

    async def upgrade(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one WebSocket to a service."""
        try:
            if scope["path"].startswith(PASSED_ON):
                await self._passed_on.upgrade(scope, receive, send)
            else:
                await self._upgrade(scope, receive, send)
        except UpgradeRefused as refused:
            await _refuse_upgrade(send, refused.status, [*refused.headers], refused.body)
        except Exception as error:
            response = on_problem(_problem(error))
            await _refuse_upgrade(send, response.status_code, response.raw_headers, bytes(response.body))

    async def _upgrade(self, scope: Scope, receive: Receive, send: Send) -> None:
        addressed = self._addressed(scope)
        queue, caller = await self._let_in(scope, addressed)
        with _UnderWay(self._of_token, addressed.service, queue, caller):
            message = self._message(scope, "GET", addressed, None, upgrade=True)
            await pass_socket(
                queue, message, list(scope.get("subprotocols", ())), receive, send,
                shared_origin=bool(addressed.prefix),
            )  # fmt: skip

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("TRACE", "CONNECT"):
            raise HttpProblem(405, "method-not-allowed", f"services take no {scope['method']}")
        addressed = self._addressed(scope)
        queue, caller = await self._let_in(scope, addressed)
        is_async = b"prefer" in addressed.named and prefers_async(scope["headers"])
        if is_async and self._answers.place and not queue.settings.public:
            await self._answer_later(scope, receive, send, addressed, queue, caller)
            return
        with _UnderWay(self._of_token, addressed.service, queue, caller):
            length = _content_length(addressed.named)
            if length is not None and length > queue.settings.body_limit_bytes:
                limit = queue.settings.body_limit_bytes
                raise HttpProblem(413, "too-large", f"the body is longer than {limit} bytes", connection="close")
            body = None if length == 0 else RequestBody(receive, queue.settings.body_limit_bytes)
            message = self._message(scope, scope["method"], addressed, body, length=length)
            forwarding = Forwarding(queue, message, body, send, shared_origin=bool(addressed.prefix))
            await self._measured(addressed.service, scope, forwarding)

    async def _answer_later(
        self, scope: Scope, receive: Receive, send: Send, addressed: Addressed, queue: ServiceQueue, caller: AppCaller
    ) -> None:
        """Tell the client where the answer will be, and let the request go on."""
        service, limit = addressed.service, min(queue.settings.body_limit_bytes, LATER_BODY_BYTES)
        content = await read_body(Request(scope, receive, send), limit)
        if queue.waiting >= queue.settings.queue:
            raise QueueFull(f"{queue.waiting} requests wait for service {service} already: ask again later")

        async def forwarded(answer: Send) -> None:
            body = RequestBody(_whole(content), limit) if content else None
            message = self._message(scope, scope["method"], addressed, body, length=len(content), later=True)
            await self._measured(service, {}, Forwarding(queue, message, body, answer, shared_origin=False))

        with ExitStack() as stack:
            stack.enter_context(_UnderWay(self._of_token, service, queue, caller))
            id = await self._answers.begin(service, forwarded, _code_and_message, stack.pop_all().close)
        headers = {"location": f"{ANSWERS}{id}", "preference-applied": "respond-async"}
        await Response(status_code=202, headers=headers)(scope, receive, send)

    async def _measured(self, service: str, scope: Scope, forwarding: Forwarding) -> None:
        try:
            if not await _while_connected(scope, forwarding.run()) and not forwarding.is_whole:
                self._count(service, "disconnected")
                return
        except BaseException as error:
            self._count(service, type(error).__name__.lower())
            raise
        self._count(service, _CLASSES[forwarding.status // 100])

    def _count(self, service: str, outcome: str) -> None:
        counter = self._counters.get((service, outcome))
        if counter is None:
            counter = self._counters[service, outcome] = self._metrics.service_requests.labels(service, outcome)
        counter.inc()

    def _message(
        self,
        scope: Scope,
        method: str,
        addressed: Addressed,
        body: RequestBody | None,
        *,
        length: int | None = 0,
        upgrade: bool = False,
        later: bool = False,
    ) -> ForwardedRequest:
        client = (scope.get("client") or ("",))[0]
        secure = scope["scheme"] in ("https", "wss")
        host = addressed.named.get(b"host", b"")
        hop = Hop(client, "https" if secure else "http", host, addressed.prefix, self._is_proxy(client))
        public = self._queues[addressed.service].settings.public
        came = [header for header in scope["headers"] if header[0] != b"prefer"] if later else scope["headers"]
        headers = request_headers(came, hop, upgrade=upgrade, public=public)
        return ForwardedRequest(method, addressed.target, headers, aiter(body) if body else empty(), length)

    # ── who asks for what ────────────────────────────────────────────────────────────────────────────────────────────

    def _hosted(self, named: Mapping[bytes, bytes]) -> str | None:
        host = named.get(b"host", b"")
        name = host.decode("latin-1").lower().rpartition(":")[0] or host.decode("latin-1").lower()
        return self._by_host.get(name.rstrip("."))

    def _addressed(self, scope: Scope) -> Addressed:
        """Raises HttpProblem 404."""
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        named = dict(scope["headers"])
        if self._by_host and (name := self._hosted(named)) is not None:
            return Addressed(name, raw + query, b"", named)
        service, slash, rest = raw.removeprefix(_PREFIX).partition(b"/")
        name = service.decode("latin-1")
        return Addressed(name, b"/" + rest + query, _PREFIX + service if slash or service else b"/", named)

    async def _let_in(self, scope: Scope, addressed: Addressed) -> tuple[ServiceQueue, AppCaller]:
        """The service that a request is for, and who asks. Raises HttpProblem 401, 403, 404, 429 or 503."""
        name = addressed.service
        queue = self._queues.get(name)
        if queue is not None and queue.retired:
            queue = None
        public = queue is not None and queue.settings.public
        # First, so that which services there are, and what they lack, is told to none without a token.
        caller = _PUBLIC if public else await self._authenticated(scope, addressed)
        if queue is None:
            raise HttpProblem(404, "unknown-service", "there is no service of that name: yurt services lists them")
        if public and addressed.prefix:
            self._pages.check(HTTPConnection(scope))
        if why := self._refusal(name):
            raise HttpProblem(503, "no-machine", f"service {name} cannot run: {'see yurt services' if public else why}")
        return queue, caller

    async def _authenticated(self, scope: Scope, addressed: Addressed) -> AppCaller:
        """Raises HttpProblem 401, 403 or 429."""
        own = addressed.named.get(TOKEN)
        credential = addressed.named.get(b"authorization", b"") if own is None else b"Bearer " + own
        caller = await self._auth.bearing(bearer_of(credential.decode("latin-1")))
        proven(scope)
        caller.require(f"service:{addressed.service}")
        return caller

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def report_service(self, request: Request) -> Response:
        """Take a worker's report on the server that it runs for a service."""
        async with self._worker_auth.call(request) as caller:
            report = await read_model(request, protocol.ServiceReport)
            name = request.path_params["name"]
            known = await self._ledger.report(caller.id, name, report.state, report.message, report.log, report.address)
            if not known:
                raise HttpProblem(404, "unknown-service", "this worker serves no service of that name: stop its server")
            if report.state == "failing":
                log.warning("server fails", service=name, worker=caller.id, message=report.message)
            return json_response(protocol.ServiceReportAnswer(drain=caller.draining))


class _UnderWay:
    """Counts a request as one of its token's for the length of a ``with`` block. Raises HttpProblem 429."""

    def __init__(
        self, of_token: defaultdict[tuple[str, int], int], service: str, queue: ServiceQueue, caller: AppCaller
    ) -> None:
        self._of_token = of_token
        self._key = (service, caller.token_id)
        self._limit = queue.settings.token_requests if caller.token_id else math.inf

    def __enter__(self) -> None:
        under_way = self._of_token[self._key]
        if under_way >= self._limit:
            raise HttpProblem(
                429, "too-many-requests", f"{under_way} requests of this token wait or are under way already",
                retry_after=str(_RETRY_SECONDS),
            )  # fmt: skip
        self._of_token[self._key] = under_way + 1

    def __exit__(self, *_: object) -> None:
        self._of_token[self._key] -= 1
        if not self._of_token[self._key]:
            del self._of_token[self._key]


def _content_length(named: Mapping[bytes, bytes]) -> int | None:
    """Bytes of a request's body; None: they are not known. Raises HttpProblem 400."""
    if b"transfer-encoding" in named:
        return None
    text = named.get(b"content-length", b"0")
    if not (text.isdigit() and len(text) < 19):
        raise HttpProblem(400, "malformed", "content-length is no number", connection="close")
    return int(text)


_CLASSES = {0: "0xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}
_AGAIN = str(_RETRY_SECONDS)
_PROBLEMS: Mapping[type[Exception], Callable[[str], HttpProblem]] = {
    QueueFull: lambda text: HttpProblem(429, "queue-full", text, retry_after=_AGAIN),
    WaitedTooLong: lambda text: HttpProblem(504, "waited-too-long", text),
    NoMachine: lambda text: HttpProblem(503, "no-machine", text, retry_after=_AGAIN),
    CutOff: lambda text: HttpProblem(502, "cut-off", f"the server's answer broke off: {text}"),
    StoreError: lambda text: HttpProblem(503, "store-unavailable", text),
    MachineLost: lambda text: HttpProblem(502, "machine-lost", text),
    ServerNonsense: lambda text: HttpProblem(502, "server-nonsense", text),
    TimeoutError: lambda _: HttpProblem(504, "no-answer", "the server has not answered in time"),
}


def _problem(error: Exception) -> Exception:
    """What a client is told of a request that got no answer."""
    if isinstance(error, ForwardingProblem):
        more = {"connection": "close"} if error.status in (400, 408, 413) else {}
        return HttpProblem(error.status, error.error, str(error), **more)
    told = _PROBLEMS.get(type(error))
    return told(str(error)) if told else error


def _code_and_message(error: Exception) -> tuple[str, str]:
    """What a client is told who asks later."""
    problem = problem_of(_problem(error))
    return problem.error, problem.message


def _whole(content: bytes) -> Receive:
    """A body that has come already."""

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    return receive


async def _while_connected(scope: Scope, work: Awaitable[None]) -> bool:
    """Do work for as long as the client is there. False: it has left before the work was done."""
    connection, task = scope.get(CONNECTION), asyncio.current_task()
    if connection is None or task is None:
        await work
        return True
    connection.watch(task.cancel)
    try:
        await work
    except asyncio.CancelledError:
        if not connection.is_lost:
            raise
        task.uncancel()
        return False
    finally:
        connection.unwatch(task.cancel)
    return True


async def _abort(scope: Scope) -> None:
    """Break the connection off: an answer that ends early must not look complete."""
    if (connection := scope.get(CONNECTION)) is not None:
        connection.abort()
        await asyncio.sleep(0)


async def _refuse_upgrade(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Answer a WebSocket's handshake with an ordinary answer."""
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
