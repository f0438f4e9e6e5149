"""Authenticates requests: secrets of notifications, the admin token, one-time tokens and tokens of workers."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from starlette.requests import HTTPConnection, Request

from webhook.api.connections import proven
from webhook.api.http import HttpProblem
from webhook.api.worker_calls import WorkerCalls
from webhook.ledger.callers import Caller
from webhook.ledger.fleet import LedgerFleet

_CALLER_SECONDS = 1.0
"""How long a token's owner is cached. A worker that is revoked meanwhile can do no harm: its leases are taken back."""
_MAX_CALLERS = 10_000
_MAX_SIGNATURES = 8
"""Signatures of one body that are compared: a store sends several while its secret is being changed."""


def bearer(request: HTTPConnection) -> str:
    """Return the request's bearer token. Raises HttpProblem 401."""
    return bearer_of(request.headers.get("authorization", ""))


def bearer_of(authorization: str) -> str:
    """Return the bearer token of an Authorization header, as Starlette gives it. Raises HttpProblem 401."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthorized("a bearer token is needed")
    return token.strip()


def unauthorized(message: str) -> HttpProblem:
    """Make the problem for a missing or wrong credential: 401."""
    return HttpProblem(401, "unauthorized", message, www_authenticate='Bearer realm="yurt"')


class Credentials:
    """Valid values of an Authorization header, and keys of signatures, compared in constant time."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = list(secrets)
        self._digests = [_digest(header.encode()) for secret in known for header in _headers(secret)]
        self._signers = [hmac.new(secret.encode(), digestmod=hashlib.sha256) for secret in known]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def allow(self, authorization: str) -> bool:
        """Whether an Authorization header, as Starlette gives it, carries one of the secrets. Takes constant time."""
        scheme, _, value = authorization.partition(" ")
        # Starlette reads headers as Latin-1; a secret that is not ASCII comes in UTF-8.
        given = _digest(f"{scheme.lower()} {value.strip()}".encode("latin-1", "replace"))
        allowed = False
        for digest in self._digests:  # all of them, so that the time does not tell which one fits
            allowed |= hmac.compare_digest(given, digest)
        return allowed

    def allow_token(self, token: str) -> bool:
        """Whether a query parameter is one of the secrets. Takes constant time."""
        return self.allow("Bearer " + token.encode("utf-8", "replace").decode("latin-1"))

    def allow_signature(self, signature: str, body: bytes) -> bool:
        """Whether one of the secrets signed a body: ``v1=`` and its HMAC-SHA256 in hexadecimal, maybe a list of them.

        Takes time that depends on the lengths only. Source: Backblaze, "Event Notifications Reference Guide".
        """
        given = [part.strip().encode("latin-1", "replace") for part in signature.split(",", _MAX_SIGNATURES)]
        allowed = False
        for signer in self._signers:
            computed = signer.copy()
            computed.update(body)
            valid = f"v1={computed.hexdigest()}".encode()
            for part in given[:_MAX_SIGNATURES]:
                allowed |= hmac.compare_digest(part, valid)
        return allowed


class AdminAuth:
    """Requires the admin token of a request. Refuses every request where no token is configured."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def require(self, request: Request) -> None:
        """Check a request's token. Raises HttpProblem 401 or 403."""
        if not self._credentials:
            raise HttpProblem(403, "closed", "set YURT_ADMIN_TOKEN for the control plane to open this")
        if not self._credentials.allow(f"bearer {bearer(request)}"):
            raise unauthorized("the admin token is wrong: set YURT_ADMIN_TOKEN to the control plane's")
        proven(request.scope)


@dataclass(slots=True)
class _KnownCaller:
    caller: Caller
    until: float


class WorkerAuth:
    """Finds the worker that sent a request, by its token. Caches the ledger's answers for a moment."""

    def __init__(self, fleet: LedgerFleet) -> None:
        self._fleet = fleet
        self._known: dict[str, _KnownCaller] = {}
        self.calls = WorkerCalls()

    @contextlib.asynccontextmanager
    async def call(self, request: Request) -> AsyncIterator[Caller]:
        """Authenticate a worker's call and count it while it is under way.

        Raises HttpProblem 401 or 429, LedgerUnavailable.
        """
        caller = await self.caller(request)
        with self.calls.counted(caller.id):
            yield caller

    async def caller(self, request: HTTPConnection) -> Caller:
        """Return the worker that a request's token belongs to. Raises HttpProblem 401, LedgerUnavailable."""
        token = bearer(request)
        known = self._known.get(token)
        now = time.monotonic()
        if known is not None and known.until > now:
            proven(request.scope)
            return known.caller
        caller = await self._fleet.authenticate(token)
        if caller is None:
            self._known.pop(token, None)
            raise unauthorized("this worker's token is unknown or was revoked: leave")
        # Bounds the memory: only tokens of workers get here, and most entries are outdated within a second.
        if len(self._known) >= _MAX_CALLERS:
            self._known = {t: k for t, k in self._known.items() if k.until > now}
        self._known[token] = _KnownCaller(caller, now + _CALLER_SECONDS)
        proven(request.scope)
        return caller

    def forget(self, worker_id: int) -> None:
        """Ask the ledger about a worker at its next request: what is known of it has changed."""
        self._known = {token: known for token, known in self._known.items() if known.caller.id != worker_id}


def _digest(header: bytes) -> bytes:
    return hashlib.sha256(header).digest()


def _headers(secret: str) -> list[str]:
    """The header values that carry a secret: ``user:password`` may come as Basic or as a bearer token."""
    basic = [f"basic {b64encode(secret.encode()).decode()}"] if ":" in secret else []
    return [f"bearer {secret}", *basic]
