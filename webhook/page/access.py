"""Checks requests of the page: the session, the role, and that a change comes from the page itself.

A browser may add a cookie to a request that another page makes it send. So a change needs three things: the cookie,
which SameSite=Strict keeps from other sites; an ``Origin`` that is this control plane's; and the session's CSRF token,
which no other page can read.
"""

from __future__ import annotations

import hmac
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from webhook.api.connections import proven
from webhook.api.http import HttpProblem, read_body
from webhook.page.cookies import PageSession, SessionCookies

MAX_FORM_BYTES = 256 * 1024
_MAX_FIELDS = 2_000
CSRF_HEADER = "x-csrf-token"
CLOSED = (
    "The page is closed: this control plane has no admin token. Set YURT_ADMIN_TOKEN in its environment or in "
    "yurt.secrets, start it again, and sign in with that token."
)


class SignInNeeded(Exception):
    """The request has no session, or its session has ended."""


class Form:
    """Fields of a form that was sent."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def get(self, name: str) -> str:
        """The first value of a field; empty: it was not sent."""
        return next((value for key, value in self._fields if key == name), "")

    def all(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self._fields if key == name]

    def without(self, *names: str) -> list[tuple[str, str]]:
        """The other fields, in their order, those without a value left out."""
        return [(key, value) for key, value in self._fields if key not in names and value]


class PageAuth:
    """Requires sessions, and proof that a change comes from the page."""

    def __init__(self, cookies: SessionCookies, public_url: str) -> None:
        self.cookies = cookies
        self._public = _origin(public_url)

    def session(self, request: Request) -> PageSession:
        """The session of a request. Raises HttpProblem 403 where the page is closed, SignInNeeded."""
        if not self.cookies:
            raise HttpProblem(403, "closed", CLOSED)
        session = self.cookies.read(request)
        if session is None:
            raise SignInNeeded
        proven(request.scope)
        return session

    async def form(self, request: Request) -> Form:
        """The form of a request that changes something, by an administrator.

        Raises SignInNeeded, HttpProblem 403, 408, 413 or 422.
        """
        session = self._administrator(request)
        form = await read_form(request)
        _check_csrf(session, form.get("csrf"))
        return form

    async def json(self, request: Request) -> dict[str, Any]:
        """The JSON object of a script's request that changes something, by an administrator. Raises as `form`."""
        session = self._administrator(request)
        _check_csrf(session, request.headers.get(CSRF_HEADER, ""))
        try:
            content = json.loads(await read_body(request, MAX_FORM_BYTES))
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise HttpProblem(422, "malformed", "the body has to be a JSON object")
        return content

    def _administrator(self, request: Request) -> PageSession:
        session = self.session(request)
        self.check_origin(request)
        if not session.may_change:
            raise HttpProblem(403, "read-only", "you are signed in to look: changes need the admin token")
        return session

    def check_origin(self, request: Request) -> None:
        """Raise HttpProblem 403 where a request does not come from a page of this control plane."""
        origin = _origin(request.headers.get("origin", ""))
        host = request.headers.get("host", "").lower()
        if not origin or (origin != self._public and origin.partition("://")[2] != host):
            raise HttpProblem(
                403, "foreign-origin",
                "this did not come from the page itself. Behind a proxy, set server.public_url to the URL of browsers",
            )  # fmt: skip


async def read_form(request: Request) -> Form:
    """Read a form. Raises HttpProblem 408, 413 or 422."""
    body = await read_body(request, MAX_FORM_BYTES)
    try:
        return Form(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise HttpProblem(422, "malformed", "the form cannot be read, or has too many fields") from None


def _check_csrf(session: PageSession, token: str) -> None:
    if not hmac.compare_digest(token.encode("utf-8", "replace"), session.csrf.encode()):
        raise HttpProblem(403, "csrf", "this form is of another session: load the page again and repeat it")


def _origin(url: str) -> str:
    """Scheme, host and port; empty where there are none, as in ``null``."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.scheme in ("http", "https") and parts.netloc else ""
