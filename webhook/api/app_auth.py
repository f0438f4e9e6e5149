"""Authenticates apps by their tokens, and requires the scope of what they call."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator
from starlette.requests import HTTPConnection

from webhook.api.auth import Credentials, bearer, unauthorized
from webhook.api.connections import proven
from webhook.api.http import HttpProblem
from webhook.api.rate_limit import RateLimit
from webhook.ledger.app_tokens import AppToken, AppTokens

EVERY = "*"
"""In place of the name in a scope: all pipelines, services, functions or pools."""
CACHED_SECONDS = 1.0
"""How long what is known of a token is used: a token that is revoked ends everywhere within so long."""
_MOST_CACHED = 10_000
_SCOPE = re.compile(r"(upload|read|delete|service|call|wake):(\*|[a-z0-9][a-z0-9_.-]{0,99})")
_MEANINGS = {
    "upload": "upload to the pipeline {}",
    "read": "read objects of the pipeline {}",
    "delete": "delete objects of the pipeline {}",
    "service": "send requests to the service {}",
    "call": "call the function {}",
    "wake": "wake the pool {}",
}


def _checked(scope: str) -> str:
    if not _SCOPE.fullmatch(scope):
        raise ValueError(
            "has to be upload:PIPELINE, read:PIPELINE, delete:PIPELINE, service:NAME, call:NAME or wake:POOL; * stands "
            "for every name"
        )
    return scope


AppScope = Annotated[str, AfterValidator(_checked)]
"""What a token allows: ``upload:photos``, ``read:photos``, ``service:sdxl``, ``call:caption``, ``wake:gpu``; ``*`` for
every name."""


@dataclass(frozen=True, slots=True)
class AppCaller:
    """What sent an authenticated request: an app, or an administrator, who may do everything."""

    token_id: int
    """0: the admin token."""
    name: str
    scopes: frozenset[str]
    calls_per_second: float = math.inf
    burst_calls: int = 1

    def allows(self, scope: str) -> bool:
        """Whether it may do what a scope names."""
        kind, _, _ = scope.partition(":")
        return not self.token_id or scope in self.scopes or f"{kind}:{EVERY}" in self.scopes

    def require(self, scope: str) -> None:
        """Raise HttpProblem 403 unless it may do what a scope names."""
        if not self.allows(scope):
            kind, _, name = scope.partition(":")
            raise HttpProblem(
                403, "scope-missing",
                f"this token may not {_MEANINGS[kind].format(name)}: make one with yurt tokens create NAME "
                f"--scope {scope}",
            )  # fmt: skip


_ADMIN = AppCaller(0, "administrator", frozenset())


@dataclass(slots=True)
class _CachedApp:
    caller: AppCaller
    until: float


class AppAuth:
    """Requires a token of an app with the right scope, within its rate. The admin token may do everything.

    The rate is limited by each replica for itself: with three of them, a token can make three times as many calls.
    """

    def __init__(self, tokens: AppTokens, admin: Credentials) -> None:
        self._tokens = tokens
        self._admin = admin
        self._cached: dict[str, _CachedApp] = {}
        self._rates = RateLimit()

    async def require(self, request: HTTPConnection, scope: str) -> AppCaller:
        """Check that a request may do what a scope names, such as ``service:sdxl``.

        Raises HttpProblem 401 for a token that is unknown, expired or revoked, 403 without the scope, 429 over the
        token's rate; LedgerUnavailable.
        """
        caller = await self.caller(request)
        caller.require(scope)
        return caller

    async def caller(self, request: HTTPConnection) -> AppCaller:
        """Authenticate a request, whatever it may do. Raises HttpProblem 401 or 429, LedgerUnavailable."""
        caller = await self.bearing(bearer(request))
        proven(request.scope)
        return caller

    async def bearing(self, token: str) -> AppCaller:
        """Authenticate by a token, whatever its owner may do. Raises HttpProblem 401 or 429, LedgerUnavailable."""
        now = time.monotonic()
        known = self._cached.get(token)
        if known is None or known.until <= now:
            known = _CachedApp(await self._looked_up(token), now + CACHED_SECONDS)
            if len(self._cached) >= _MOST_CACHED:  # only good tokens get here, and most entries are outdated
                self._cached = {text: entry for text, entry in self._cached.items() if entry.until > now}
            self._cached[token] = known
        caller = known.caller
        if not caller.token_id:
            return caller
        wait_seconds = self._rates.wait_seconds(caller.token_id, caller.calls_per_second, caller.burst_calls)
        if wait_seconds:
            raise HttpProblem(
                429, "too-many-requests",
                f"this token may make {caller.calls_per_second:.6g} calls a second, and {caller.burst_calls} at once",
                retry_after=str(math.ceil(wait_seconds)),
            )  # fmt: skip
        return caller

    async def _looked_up(self, token: str) -> AppCaller:
        self._cached.pop(token, None)
        if self._admin and self._admin.allow(f"bearer {token}"):
            return _ADMIN
        return _good(await self._tokens.find(token))


def _good(token: AppToken | None) -> AppCaller:
    if token is None:
        raise unauthorized("this token is unknown: make one with yurt tokens create")
    if token.revoked:
        raise unauthorized("this token was revoked: make another one with yurt tokens create")
    if token.expired:
        raise unauthorized("this token has expired: make another one with yurt tokens create")
    return AppCaller(token.id, token.name, frozenset(token.scopes), token.calls_per_second, token.burst_calls)
