"""Calls the control plane: the agent's side of the worker protocol.

::

    NetworkFault
    └── ControlPlaneFault
        ├── Unreachable   no response, or one that says "not now": repeat the call
        ├── Unauthorized  the token is refused or revoked: leave
        ├── LeaseLost     the lease has ended or belongs to another worker: stop its work
        └── Rejected      the call itself is wrong: a fault of this program, or another version of the protocol
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from workers import tls
from workers.bounded_read import BodyTooLong, read_bounded
from workers.headers import retry_after_seconds
from workers.outage import OutageLog
from workers.outgoing import PAST_PROXIES, why_unreachable
from workers.protocol import (
    MAX_UNJAILED,
    OUTPUTS_REFUSED,
    BundleSource,
    Handling,
    HeartbeatRequest,
    HeartbeatResponse,
    Hello,
    LeaseRequest,
    LeaseResponse,
    ModelSources,
    OutputsRequest,
    OutputsResponse,
    Problem,
    ProgressAnswer,
    ServiceReport,
    ServiceReportAnswer,
    Welcome,
    WorkerProgress,
)
from workers.retry import Backoff, NetworkFault

MAX_ANSWER_BYTES = 8 << 20
"""Of one answer of the control plane."""
_PROXY_GAVE_UP = (408, 502, 504, 524)
"""What proxies answer once they have waited long enough for an answer. The control plane itself does not."""
ANSWER_SECONDS = 15.0
"""Time limit for one response; a long poll's own wait is added to it."""

_NO_EXPLANATION = "no explanation; is YURT_URL a Yurt control plane?"
_WEB_PAGE = "A web page came in place of an answer: YURT_URL leads to another server, or to a proxy's login."

Answer = TypeVar("Answer", bound=BaseModel)


class ControlPlaneFault(NetworkFault):
    """A call to the control plane did not succeed."""


class Unreachable(ControlPlaneFault):
    """No response, or one that says "not now"."""

    def __init__(self, message: str, after_seconds: float = 0.0, *, gave_up: bool = False) -> None:
        super().__init__(message, transient=True, after_seconds=after_seconds)
        self.gave_up = gave_up
        """A proxy in between waited for the control plane's answer, and then answered in its place."""


class Unauthorized(ControlPlaneFault):
    """The token is refused. There is nothing left to do for this process."""

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=False)


class LeaseLost(ControlPlaneFault):
    """The lease has ended, or belongs to another worker."""

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=False)


class Rejected(ControlPlaneFault):
    """The control plane did not understand the call, or its response was not understood."""

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=False)


class OutputsNotAllowed(ControlPlaneFault):
    """The pipeline does not allow outputs of such a type, size or number. ``reason`` is the control plane's code."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message, transient=False)
        self.reason = reason


class ControlPlaneClient:
    """Calls one control plane. Each call is made once, but for ``outputs``: the caller decides how often to repeat it.

    All raise `ControlPlaneFault`.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        handling: Callable[[Collection[int]], Handling | None] = lambda _settling: None,
    ) -> None:
        """``handling`` gives what is in the handler now, but for what is being settled; sent with every request for
        leases and every heartbeat.
        """
        self._url = url
        self._handling = handling
        self._answer_seconds = answer_seconds
        self._http = httpx.AsyncClient(
            verify=tls.context(),
            mounts=PAST_PROXIES,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            limits=httpx.Limits(keepalive_expiry=30.0),
            timeout=None,  # noqa: S113  each call has a limit of its own below
        )
        self.use(token)
        self._outage = OutageLog(url)
        self.answered_at = time.monotonic()
        """When the control plane last answered anything of use, by ``time.monotonic``."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    @property
    def url(self) -> str:
        """Base URL of the control plane, without a slash at its end."""
        return self._url

    @property
    def token(self) -> str:
        """The bearer token of each call."""
        return self._http.headers["Authorization"].removeprefix("Bearer ")

    def use(self, token: str) -> None:
        """Call with this bearer token from now on."""
        self._http.headers["Authorization"] = f"Bearer {token}"

    async def hello(
        self, instance: str, *, returns: bool = False, unjailed: str = "", process_seconds: float | None = None
    ) -> Welcome:
        """Exchange the one-time token, invitation or credential for the token that is used from then on.

        ``returns`` asks for a credential, with which a later process comes back as the same worker. ``unjailed`` says
        why this machine cannot jail its handlers, ``process_seconds`` for how long this process has run. Raises
        `Unauthorized` when another process has used the one-time token.
        """
        hello = Hello(
            instance=instance, returns=returns, unjailed=unjailed[:MAX_UNJAILED], serves=True,
            process_seconds=process_seconds,
        )  # fmt: skip
        try:
            welcome = await self._call("workers/hello", hello, Welcome)
        except LeaseLost as taken:  # a 409 without a lease: the one-time token was used by another process
            raise Unauthorized(taken.message) from taken
        self.use(welcome.token)
        return welcome

    async def lease(self, request: LeaseRequest) -> LeaseResponse:
        """Send settlements and request leases; takes up to ``request.wait`` seconds."""
        settling = {settlement.token for settlement in request.settle}
        request = request.model_copy(update={"handling": self._handling(settling)})
        return await self._call("leases", request, LeaseResponse, wait_seconds=request.wait)

    async def heartbeat(self, lease_id: int, token: int) -> HeartbeatResponse:
        """Renew a lease."""
        request = HeartbeatRequest(token=token, handling=self._handling(()))
        return await self._call(f"leases/{lease_id}/heartbeat", request, HeartbeatResponse)

    async def outputs(self, lease_id: int, request: OutputsRequest) -> OutputsResponse:
        """Request presigned PUTs. Repeated until there is a response: the caller's lease is the time limit."""
        answer: OutputsResponse = await Backoff().retrying()(self._outputs, lease_id, request)
        if [upload.name for upload in answer.uploads] != [output.name for output in request.outputs]:
            raise Rejected("The control plane answered with other outputs than it was asked for.")
        return answer

    async def _outputs(self, lease_id: int, request: OutputsRequest) -> OutputsResponse:
        return await self._call(f"leases/{lease_id}/outputs", request, OutputsResponse)

    async def models(self, root: str) -> ModelSources:
        """Ask where the files of one version of a model are. The URLs in the answer end after an hour at the latest."""
        return await self._call(f"models/{root}", None, ModelSources)

    async def bundle(self, root: str) -> BundleSource:
        """Ask where a bundle of functions is."""
        return await self._call(f"bundles/{root}", None, BundleSource)

    async def progress(self, progress: WorkerProgress) -> ProgressAnswer:
        """Report what this worker does before it can take work. Keeps it alive as a request for leases does."""
        return await self._call("workers/progress", progress, ProgressAnswer)

    async def report_server(self, service: str, report: ServiceReport) -> ServiceReportAnswer:
        """Report what became of the server of a service."""
        return await self._call(f"services/{service}/report", report, ServiceReportAnswer)

    async def _call(
        self, path: str, body: BaseModel | None, answer: type[Answer], *, wait_seconds: float = 0.0
    ) -> Answer:
        try:
            answered = await self._answer(path, body, answer, wait_seconds)
        except Unreachable as error:
            self._outage.failed(error)
            raise
        except ControlPlaneFault:
            self._outage.answered()
            raise
        self._outage.answered()
        return answered

    async def _answer(self, path: str, body: BaseModel | None, answer: type[Answer], wait_seconds: float) -> Answer:
        try:
            async with asyncio.timeout(self._answer_seconds + wait_seconds):
                status, headers, content = await self._send(path, body)
        except TimeoutError as error:
            raise Unreachable(f"The control plane did not answer {path} in time.") from error
        except httpx.TransportError as error:
            raise Unreachable(f"The control plane cannot be reached: {why_unreachable(error)}.") from error
        if status >= 500 or status in (408, 429):
            message = f"The control plane answered {status} to {path}."
            raise Unreachable(message, retry_after_seconds(headers), gave_up=status in _PROXY_GAVE_UP)
        if not 200 <= status < 300:
            raise _problem(status, path, content)
        try:
            understood = answer.model_validate_json(content)
        except ValidationError as error:
            if content.lstrip()[:1] == b"<":
                raise Rejected(_WEB_PAGE) from None
            # Its text would show presigned URLs: only say where it is wrong
            places = ", ".join(".".join(map(str, e["loc"])) for e in error.errors(include_input=False)[:3])
            raise Rejected(f"The control plane's answer to {path} is not understood, at: {places}.") from None
        self.answered_at = time.monotonic()
        return understood

    async def _send(self, path: str, body: BaseModel | None) -> tuple[int, httpx.Headers, bytes]:
        """POST a body; GET without one."""
        async with self._http.stream(
            "GET" if body is None else "POST",
            f"{self._url}/v1/{path}",
            content=None if body is None else body.model_dump_json().encode(),
            headers={} if body is None else {"Content-Type": "application/json"},
        ) as response:
            try:
                content = await read_bounded(response.aiter_raw(), MAX_ANSWER_BYTES)
            except BodyTooLong:
                raise Rejected(f"The control plane's answer to {path} exceeds {MAX_ANSWER_BYTES} bytes.") from None
            return response.status_code, response.headers, content


def _problem(status: int, path: str, content: bytes) -> ControlPlaneFault:
    try:
        problem = Problem.model_validate_json(content)
        explanation = problem.message[:500]
        if problem.error in OUTPUTS_REFUSED:
            return OutputsNotAllowed(problem.error, explanation)
    except ValidationError:
        explanation = _WEB_PAGE if content.lstrip()[:1] == b"<" else _NO_EXPLANATION
    kinds: dict[int, type[Unauthorized | LeaseLost]] = {401: Unauthorized, 403: Unauthorized, 409: LeaseLost}
    if path.startswith("leases/"):  # the object was forgotten, its lease with it
        kinds |= {404: LeaseLost, 410: LeaseLost}
    elif status == 404 and not path.startswith(("bundles/", "models/", "services/")):  # the call is unknown at this URL
        explanation = "there is no control plane at this URL: is the path of YURT_URL right?"
    return kinds.get(status, Rejected)(f"The control plane answered {status} to {path}: {explanation}")
