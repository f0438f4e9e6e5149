"""Signs and reads session cookies of the page, and the tokens against forged requests (CSRF) that belong to them.

A session is in the cookie alone: role, end and a random number, signed with HMAC-SHA256. The key is derived from the
token that signed in, so a new admin token ends the sessions of administrators, and a new viewer token those of viewers.
Source: RFC 2104 for the signature; RFC 6265bis for ``__Host-`` and SameSite.
"""

from __future__ import annotations

import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Literal

from starlette.requests import Request

Role = Literal["admin", "viewer"]
SESSION_SECONDS = 12 * 3600
_MAX_COOKIE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class PageSession:
    """One browser that has signed in."""

    role: Role
    ends_at: int
    """Seconds since 1970."""
    nonce: str
    csrf: str = field(repr=False)
    """What a request that changes something has to carry beside the cookie."""

    @property
    def may_change(self) -> bool:
        """Whether it may do more than look."""
        return self.role == "admin"


class SessionCookies:
    """Cookies of one control plane.

    Args:
        tokens: The secret by which each role signs in. A role without one is missing.
        secure: Whether browsers reach the page by https alone.
        clock: Seconds since 1970.

    """

    def __init__(self, tokens: Mapping[Role, str], *, secure: bool, clock: Callable[[], float] = time.time) -> None:
        self._keys = {role: _derived(token.encode(), f"yurt page session {role}") for role, token in tokens.items()}
        self._secure = secure
        self._clock = clock
        # Cookies are not kept apart by port: two control planes on one machine need two names.
        mark = _derived(b"".join(self._keys.values()), "yurt page cookie").hex()[:8]
        self.name = f"__Host-yurt-{mark}" if secure else f"yurt-{mark}"

    def __bool__(self) -> bool:
        """Whether any role can sign in."""
        return bool(self._keys)

    def new(self, role: Role) -> PageSession:
        """Begin a session."""
        return self._session(role, int(self._clock()) + SESSION_SECONDS, secrets.token_urlsafe(16))

    def read(self, request: Request) -> PageSession | None:
        """The session of a request's cookie. None: there is none, it has ended, or it was not signed here."""
        text = request.cookies.get(self.name, "")
        role, _, rest = text.partition(".")
        end, _, rest = rest.partition(".")
        nonce, _, signature = rest.partition(".")
        if len(text) > _MAX_COOKIE_LENGTH or role not in self._keys or not (end.isascii() and end.isdecimal()):
            return None
        known: Role = "admin" if role == "admin" else "viewer"
        expected = self._signature(known, int(end), nonce)
        if not hmac.compare_digest(signature.encode(), expected.encode()) or int(end) <= self._clock():
            return None
        return self._session(known, int(end), nonce)

    def has_ended(self, session: PageSession) -> bool:
        """Whether a session's time is over."""
        return session.ends_at <= self._clock()

    def header(self, session: PageSession) -> str:
        """The value of Set-Cookie that begins a session in a browser."""
        value = f"{session.role}.{session.ends_at}.{session.nonce}"
        signature = self._signature(session.role, session.ends_at, session.nonce)
        return self._set(f"{value}.{signature}", SESSION_SECONDS)

    def ending_header(self) -> str:
        """The value of Set-Cookie that ends the session in a browser."""
        return self._set("", 0)

    def _set(self, value: str, seconds: int) -> str:
        cookie: SimpleCookie = SimpleCookie({self.name: value})
        morsel = cookie[self.name]
        morsel["path"], morsel["max-age"] = "/", seconds
        morsel["httponly"], morsel["samesite"] = True, "Strict"
        if self._secure:
            morsel["secure"] = True
        return morsel.OutputString()

    def _session(self, role: Role, ends_at: int, nonce: str) -> PageSession:
        return PageSession(role, ends_at, nonce, _text(_derived(self._keys[role], f"csrf {ends_at} {nonce}")))

    def _signature(self, role: Role, ends_at: int, nonce: str) -> str:
        return _text(_derived(self._keys[role], f"session {ends_at} {nonce}"))


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, purpose.encode("utf-8", "replace"), "sha256")


def _text(digest: bytes) -> str:
    return urlsafe_b64encode(digest).decode().rstrip("=")
