"""Sends requests to a machine over HTTP/1.1: through the replica where its tunnel ends, or at its own address.

What is sent and what comes back is streamed; an answer may come before the body's end. Paths, header names and values
go through as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

import httpcore

from webhook.proxy.early_answer import ListeningBackend, SentBody
from webhook.proxy.exchange import (
    ForwardedAnswer,
    ForwardedRequest,
    Headers,
    MachineLost,
    ServerNonsense,
    ServiceSocket,
)
from webhook.proxy.http_socket import opened_socket

CONNECT_SECONDS = 5.0
_KEPT_SECONDS = 30.0
"""Idle connections are closed after so long: before the other end does, which would lose a request."""


def connection_pool(connections: int = 1_000) -> httpcore.AsyncConnectionPool:
    """Make a pool of connections for `HttpMachine`."""
    return httpcore.AsyncConnectionPool(
        max_connections=connections,
        max_keepalive_connections=100,
        keepalive_expiry=_KEPT_SECONDS,
        retries=0,
        network_backend=ListeningBackend(),
    )


class HttpMachine:
    """A `ServiceMachine` at a URL."""

    tells_taken: ClassVar = False
    """Whether the other end says ``100 Continue`` within a long body: its machine has taken the request."""

    def __init__(self, pool: httpcore.AsyncConnectionPool, url: str, headers: Headers, *, prefix: bytes = b"") -> None:
        """``headers`` are added to each request, ``prefix`` is put before its path."""
        self._pool = pool
        self._url = httpcore.URL(url.rstrip("/") + "/")
        self._headers = headers
        self._prefix = self._url.target.rstrip(b"/") + prefix

    @contextlib.asynccontextmanager
    async def exchange(self, request: ForwardedRequest) -> AsyncIterator[ForwardedAnswer]:
        """See `ServiceMachine`."""
        body = SentBody(request.body, is_told=self.tells_taken)
        sent = httpcore.Request(
            request.method,
            self._at(request.target),
            headers=[*request.headers, *self._headers, *_framing(request)],
            content=body,
            extensions={"timeout": {"connect": CONNECT_SECONDS, "pool": CONNECT_SECONDS}},
        )
        try:
            with body.sending() if request.body_bytes != 0 else contextlib.nullcontext():
                answer = await self._pool.handle_async_request(sent)
        except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout) as error:
            raise MachineLost(_words(error, "it cannot be connected to"), unsent=True) from error
        except (httpcore.RemoteProtocolError, httpcore.LocalProtocolError) as error:
            raise _of_protocol(error) from error
        except (httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise MachineLost(_words(error, "the connection broke")) from error
        try:
            yield ForwardedAnswer(
                answer.status, [(name.lower(), value) for name, value in answer.headers], _body(answer)
            )
        finally:
            await answer.aclose()

    @contextlib.asynccontextmanager
    async def upgrade(self, request: ForwardedRequest, subprotocols: Sequence[str]) -> AsyncIterator[ServiceSocket]:
        """See `ServiceMachine`."""
        # The library sets ``host`` itself, to that of the connection.
        headers = [*(header for header in request.headers if header[0] != b"host"), *self._headers]
        async with opened_socket(self._at(request.target), headers, subprotocols) as socket:
            yield socket

    def _at(self, target: bytes) -> httpcore.URL:
        url = self._url
        return httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=self._prefix + target)


def _framing(request: ForwardedRequest) -> Headers:
    if request.body_bytes is None:
        return [(b"transfer-encoding", b"chunked")]
    # Where a method has no body as a rule, none is announced.
    has_body = request.body_bytes or request.method in ("POST", "PUT", "PATCH")
    return [(b"content-length", str(request.body_bytes).encode())] if has_body else []


async def _body(answer: httpcore.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_stream():
            yield chunk
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
        raise MachineLost(_words(error, "the connection broke"), answered=True) from error


def _of_protocol(error: httpcore.ProtocolError) -> Exception:
    text = str(error)
    if "disconnected" in text or "closed" in text:
        return MachineLost(text)
    return ServerNonsense(f"the server's answer is no HTTP: {text}")


def _words(error: Exception, instead: str) -> str:
    return str(error) or instead
