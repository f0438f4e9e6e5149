"""Plays stores that honour less than they should: a real HTTP server in front of the local bucket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, urlencode

import httpx
import uvicorn
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.infra.local.running import ACCESS_KEY, SECRET_KEY
from webhook.server import listening_socket

Kind = Literal["ceph", "deaf", "lenient", "refusing", "plain"]
"""``ceph``: as 16.2 (a quoted If-Match never holds, an unquoted one does; copies and deletes know no condition).
``deaf``: every condition is ignored, as on Ceph's versioned buckets. ``lenient``: If-None-Match holds, any If-Match is
taken. ``refusing``: conditions are answered 501."""

_CONDITIONS = ("if-match", "if-none-match", "x-amz-copy-source-if-match")
_SIGNATURE = ("x-amz-date", "x-amz-content-sha256", "x-amz-security-token")
_HOPS = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server", "host")


def _untouched(response: Response) -> None:
    """Leave it as it is."""


async def hand_on(request: Request) -> None:
    """Do nothing before a request is handed on."""


@dataclass
class Gateway:
    """Hands requests on to ``behind``, but for what its kind does with conditions."""

    kind: Kind
    behind: str
    http: httpx.AsyncClient
    endpoint: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Methods and paths of the requests that came."""
    before: Callable[[Request], Awaitable[None]] = hand_on
    """Called with each request before it is handed on."""
    after: Callable[[Response], None] = _untouched
    """Called with each response."""
    drops: frozenset[str] = frozenset()
    """Headers that it removes from requests, as a store does that does not know them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.requests.append((request.method, request.url.path))
        await self.before(request)
        response = await self._respond(request)
        self.after(response)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        body = await request.body()
        headers = {name: value for name, value in request.headers.items() if name not in {*_HOPS, *self.drops}}
        if request.method in ("PUT", "DELETE") and (refused := self._bend(request, headers)) is not None:
            return refused
        url, headers = _signed_anew(request, self.behind, headers, body)
        upstream = await self.http.request(request.method, url, content=body, headers=headers)
        kept = {name: value for name, value in upstream.headers.items() if name not in _HOPS[:3]}
        return Response(upstream.content, upstream.status_code, kept)

    def _bend(self, request: Request, headers: dict[str, str]) -> Response | None:
        """Change the conditions as the kind does, or refuse the request."""
        plain = request.method == "PUT" and "x-amz-copy-source" not in headers
        if self.kind == "refusing" and plain and any(name in headers for name in _CONDITIONS):
            return _error(501, "NotImplemented")
        if self.kind == "deaf" or (self.kind == "ceph" and not plain):
            for name in _CONDITIONS:
                headers.pop(name, None)
        if self.kind == "lenient":
            headers.pop("if-match", None)
        etag = headers.get("if-match", "")
        if self.kind == "ceph" and etag:
            if etag.startswith('"'):
                return _error(412, "PreconditionFailed")
            headers["if-match"] = f'"{etag}"'
        return None


def _signed_anew(request: Request, behind: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str]]:
    """URL and headers of a request to the bucket behind, which signs those headers that the client has signed."""
    pairs = parse_qsl(request.scope["query_string"].decode(), keep_blank_values=True)
    given = dict(pairs)
    said = given.get("X-Amz-SignedHeaders") or headers.pop("authorization", "").partition("SignedHeaders=")[2]
    names = set(said.partition(",")[0].split(";"))
    query = urlencode([(name, value) for name, value in pairs if not name.startswith("X-Amz-")], quote_via=quote)
    url = f"{behind}{request.scope['raw_path'].decode()}?{query}".rstrip("?")
    again = {name: value for name, value in headers.items() if name in names and name not in _SIGNATURE}
    signing = AWSRequest(request.method, url, data=body, headers=again)
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "auto").add_auth(signing)
    return url, {**{n: v for n, v in headers.items() if n not in _SIGNATURE}, **dict(signing.headers.items())}


def _error(status: int, code: str) -> Response:
    return Response(f"<Error><Code>{code}</Code></Error>", status, media_type="application/xml")


@contextlib.asynccontextmanager
async def gateway(kind: Kind, behind: str) -> AsyncIterator[Gateway]:
    """Run a gateway on a free port."""
    listener = listening_socket("127.0.0.1", 0)
    async with httpx.AsyncClient(timeout=20) as http:
        running = Gateway(kind, behind, http, f"http://127.0.0.1:{listener.getsockname()[1]}")
        quiet: dict[str, Any] = {"lifespan": "off", "log_level": "warning", "access_log": False}
        config = uvicorn.Config(running, **quiet, proxy_headers=False, date_header=False, server_header=False)
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield running
        finally:
            server.should_exit = True
            await serving
