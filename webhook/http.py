"""What all endpoints share: problems as JSON, bodies with a limit, tokens."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from webhook.batching import Overloaded
from webhook.ledger.database import LedgerUnavailable
from workers.protocol import Problem as ProblemBody

Model = TypeVar("Model", bound=BaseModel)

RETRY_AFTER_SECONDS = 2
PROTOCOL_BODY_BYTES = 4 << 20
"""Largest request of a worker: 64 settlements with their logs."""


class Problem(Exception):
    """An answer that is not 2xx: a short code for programs, a sentence for people."""

    def __init__(self, status: int, error: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def answer(model: BaseModel, status: int = 200) -> Response:
    """A model as a JSON response."""
    return Response(model.model_dump_json(), status, media_type="application/json")


async def on_problem(_: Request, problem: Exception) -> Response:
    """Starlette's exception handler for what ends a request on purpose."""
    if isinstance(problem, LedgerUnavailable):
        problem = Problem(503, "ledger-unavailable", f"{problem}. Nothing is lost: send it again")
    elif isinstance(problem, Overloaded):
        problem = Problem(503, "overloaded", "more is waiting to be written than is allowed. Send it again")
    elif isinstance(problem, ClientDisconnect):
        problem = Problem(400, "disconnected", "the request's body ended early")
    assert isinstance(problem, Problem)
    if problem.status == 503:
        problem.headers.setdefault("retry-after", str(RETRY_AFTER_SECONDS))
    body = ProblemBody(error=problem.error, message=problem.message)
    return Response(body.model_dump_json(), problem.status, problem.headers, "application/json")


PROBLEMS = (Problem, LedgerUnavailable, Overloaded, ClientDisconnect)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body. Raises Problem 413 as soon as it is known to be too long."""
    too_long = Problem(413, "too-large", f"the body is longer than {limit_bytes} bytes", connection="close")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise too_long
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise too_long
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def read_model(request: Request, model: type[Model]) -> Model:
    """The body as a message of the protocol. Raises Problem 413 or 422."""
    body = await read_body(request, PROTOCOL_BODY_BYTES)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)[:5]
        said = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
        raise Problem(422, "malformed", said) from None


def bearer(request: Request) -> str:
    """The request's bearer token. Raises Problem 401."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthorized("a bearer token is needed")
    return token.strip()


def unauthorized(message: str) -> Problem:
    """401."""
    return Problem(401, "unauthorized", message, www_authenticate='Bearer realm="yurt"')


class Secrets:
    """Valid values of an Authorization header, compared in constant time."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._digests = [_digest(header) for secret in secrets for header in _headers(secret)]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def allow(self, authorization: str) -> bool:
        """Whether the header carries one of the secrets. Takes as long for any wrong value."""
        scheme, _, value = authorization.partition(" ")
        given = _digest(f"{scheme.lower()} {value.strip()}")
        found = False
        for digest in self._digests:
            found |= hmac.compare_digest(given, digest)
        return found


def _digest(header: str) -> bytes:
    return hashlib.sha256(header.encode("utf-8", "surrogateescape")).digest()


def _headers(secret: str) -> list[str]:
    """``user:password`` is a Basic credential, and a bearer token may look the same."""
    basic = [f"basic {b64encode(secret.encode()).decode()}"] if ":" in secret else []
    return [f"bearer {secret}", *basic]
