"""Lets web pages of any origin call the endpoints that are for apps (cross-origin resource sharing).

A page gains nothing by it: these endpoints take a token or a ticket in the request itself, and no cookie that a browser
would add. So any origin may be named, and credentials of the browser are not allowed.

Source: "CORS protocol", Fetch Standard, WHATWG.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ORIGIN = (b"access-control-allow-origin", b"*")
_ALLOWED = [
    _ORIGIN,
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, last-event-id"),
    (b"access-control-max-age", b"7200"),
]
_EXPOSED = (b"access-control-expose-headers", b"retry-after")


class AnyOrigin:
    """Adds to an application's answers that pages of any origin may read them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def with_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], _ORIGIN, _EXPOSED]
            await send(message)

        await self._app(scope, receive, with_origin)


class Preflight:
    """Answers what a browser asks before it lets a page send a request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await send({"type": "http.response.start", "status": 204, "headers": _ALLOWED})
        await send({"type": "http.response.body", "body": b""})
