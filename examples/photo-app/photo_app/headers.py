"""Headers that limit what a browser runs and loads, and the check that a change comes from the app's own page."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class PageHeaders:
    """Adds a content security policy and its like to each answer of an application, where it has none of its own.

    Args:
        app: The application.
        yurt: URL of the control plane, whose module the page imports.
        stores: Origins of the buckets, to which the browser uploads and from which it loads pictures.

    """

    def __init__(self, app: ASGIApp, *, yurt: str, stores: Sequence[str]) -> None:
        self._app = app
        buckets, plane = " ".join(stores), urlsplit(yurt)
        yurt = f"{plane.scheme}://{plane.netloc}"
        policy = (
            f"default-src 'none'; script-src 'self' {yurt}; style-src 'self'; img-src 'self' blob: data: {buckets}; "
            f"connect-src 'self' {yurt} {buckets}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"cache-control", b"no-cache"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = {name for name, _ in message["headers"]}
                added = [header for header in self._headers if header[0] not in named]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, with_headers)


def check_origin(request: Request) -> None:
    """Raise HTTPException 403 for a change that another site's page has begun: browsers name the origin of each."""
    if urlsplit(request.headers.get("origin", "")).netloc != request.headers.get("host"):
        raise HTTPException(403, "This was sent from another page: open the album and try again.")
