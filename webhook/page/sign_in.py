"""Signs browsers in to the page: by the admin or the viewer token, or by a sign-in link; and out again."""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping

import structlog
from starlette.requests import Request
from starlette.responses import Response

from webhook.api.connections import sender
from webhook.api.http import HttpProblem
from webhook.api.rate_limit import RateLimit
from webhook.ledger.sign_in_links import MAX_CODE_LENGTH, SignInLinks
from webhook.page.access import CLOSED, PageAuth, read_form
from webhook.page.cookies import Role
from webhook.page.rendering import Rendering, redirect

log = structlog.get_logger()

ATTEMPTS_PER_SECOND = 1 / 6
"""From one address, and from all together behind a proxy."""
ATTEMPTS_AT_ONCE = 10
_MAX_TOKEN_LENGTH = 1_000


class SignIn:
    """Endpoints that begin and end sessions."""

    def __init__(self, tokens: Mapping[Role, str], auth: PageAuth, links: SignInLinks, rendering: Rendering) -> None:
        self._tokens = tokens
        self._auth = auth
        self._links = links
        self._rendering = rendering
        self._attempts = RateLimit()

    async def form(self, request: Request) -> Response:
        """Ask for a token."""
        following = _own_path(request.query_params.get("next", ""))
        return self._asked(following) if self._auth.cookies else self._closed()

    async def submit(self, request: Request) -> Response:
        """Take a token, and begin a session where it is the right one."""
        if not self._auth.cookies:
            return self._closed()
        self._auth.check_origin(request)
        form = await read_form(request)
        following = _own_path(form.get("next"))
        if wait_seconds := self._wait_seconds(request):
            return self._asked(following, f"Too many attempts. Try again in {wait_seconds} seconds.", 429)
        role = self._role_of(form.get("token"))
        if role is None:
            log.warning("sign-in refused", sender=sender(request))
            return self._asked(following, "That token is not right. It is the value of YURT_ADMIN_TOKEN.", 401)
        return self._begun(role, following)

    async def link(self, request: Request) -> Response:
        """Show the page behind a sign-in link: its script sends the code, which is behind ``#``."""
        return self._rendering.page("enter.html", None, error="") if self._auth.cookies else self._closed()

    async def enter(self, request: Request) -> Response:
        """Take the code of a sign-in link, and begin a session where it can be used."""
        if "admin" not in self._tokens:
            return self._closed()
        self._auth.check_origin(request)
        code = (await read_form(request)).get("code")
        if wait_seconds := self._wait_seconds(request):
            error = f"Too many attempts. Try again in {wait_seconds} seconds."
            return self._rendering.page("enter.html", None, 429, error=error)
        if not 0 < len(code) <= MAX_CODE_LENGTH or not await self._links.use(code):
            error = "This link was used already, or has expired. `yurt page` prints another one."
            return self._rendering.page("enter.html", None, 401, error=error)
        return self._begun("admin", "/")

    async def sign_out(self, request: Request) -> Response:
        """End the session in this browser."""
        self._auth.check_origin(request)
        response = redirect("/sign-in")
        response.headers["set-cookie"] = self._auth.cookies.ending_header()
        return response

    async def check(self, request: Request) -> Response:
        """Whether the browser is signed in: 204, or 401."""
        if not self._auth.cookies or self._auth.cookies.read(request) is None:
            raise HttpProblem(401, "unauthorized", "sign in again")
        return Response(status_code=204, headers={"cache-control": "no-store"})

    def _begun(self, role: Role, following: str) -> Response:
        response = redirect(following)
        response.headers["set-cookie"] = self._auth.cookies.header(self._auth.cookies.new(role))
        log.info("signed in", role=role)
        return response

    def _asked(self, following: str, error: str = "", status: int = 200) -> Response:
        return self._rendering.page("sign_in.html", None, status, next=following, error=error)

    def _closed(self) -> Response:
        return self._rendering.page("closed.html", None, 403, message=CLOSED)

    def _wait_seconds(self, request: Request) -> int:
        """Count an attempt. Returns 0, or after how many seconds another one is allowed."""
        return math.ceil(self._attempts.wait_seconds(sender(request), ATTEMPTS_PER_SECOND, ATTEMPTS_AT_ONCE))

    def _role_of(self, token: str) -> Role | None:
        given = token.strip()[:_MAX_TOKEN_LENGTH].encode("utf-8", "replace")
        found: Role | None = None
        for role, secret in self._tokens.items():  # all of them, so that the time does not tell which one fits
            if hmac.compare_digest(given, secret.encode()):
                found = role
        return found


def _own_path(text: str) -> str:
    """A path of this page to go on to; ``/`` for anything else, such as another site's address."""
    fits = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and text.isascii()
    return text if fits and len(text) <= 2_000 else "/"
