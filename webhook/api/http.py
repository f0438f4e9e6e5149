"""Requests and responses of all endpoints: problems as JSON, bodies with limits, models, queries, path ids."""

from __future__ import annotations

import asyncio
import re
from typing import TypeVar

import structlog
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from webhook.batching import Overloaded
from webhook.ledger.database import LedgerUnavailable, LedgerUnusable
from workers.protocol import Problem as ProblemBody

log = structlog.get_logger()

Model = TypeVar("Model", bound=BaseModel)

RETRY_AFTER_SECONDS = 2
PROTOCOL_BODY_BYTES = 4 << 20
"""Largest request of a worker: 64 settlements with their logs."""
HELLO_BODY_BYTES = 4096
"""Largest request with which a worker calls home."""
_NAME = re.compile(r"[a-z_]{1,32}|[0-9]{1,5}")
"""Parts of a fault's location that may be shown: fields and positions. Keys of a mapping are the sender's own text."""
BODY_SECONDS = 30.0
"""Longest time between a request's head and the end of its body."""


class HttpProblem(Exception):
    """Ends a request with a response that is not 2xx: a short code for programs, a sentence for people."""

    def __init__(self, status: int, error: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.body: ProblemBody = ProblemBody(error=error, message=message)
        """What the response carries: code and sentence, and maybe more."""


def json_response(model: BaseModel, status: int = 200) -> Response:
    """Make the JSON response that carries a model."""
    return Response(model.model_dump_json(), status, media_type="application/json")


def on_problem(error: Exception) -> Response:
    """Make the response to an exception that ended a request."""
    problem = problem_of(error)
    return Response(problem.body.model_dump_json(), problem.status, problem.headers, "application/json")


def problem_of(error: Exception) -> HttpProblem:
    """What an exception that ended a request is called, in HTTP."""
    problem = _named(error)
    if problem.status == 503:
        problem.headers.setdefault("retry-after", str(RETRY_AFTER_SECONDS))
    return problem


def _named(error: Exception) -> HttpProblem:
    match error:
        case HttpProblem():
            return error
        case LedgerUnavailable() | LedgerUnusable():
            # Not logged for each request: the database's pool logs when an outage begins and when it ends.
            return HttpProblem(503, "ledger-unavailable", f"{error}. Nothing is lost: send it again")
        case Overloaded():
            return HttpProblem(503, "overloaded", "more is waiting to be written than is allowed. Send it again")
        case ClientDisconnect():
            return HttpProblem(400, "disconnected", "the request's body ended early")
        case HTTPException():
            return _of_starlette(error)
        case _:
            log.error("fault", exc_info=error)
            return HttpProblem(500, "internal", "this is a fault of the control plane: its log says more")


def _of_starlette(error: HTTPException) -> HttpProblem:
    """No route (404), or not with this method (405)."""
    problem = HttpProblem(
        error.status_code, error.detail.lower().replace(" ", "-"), "GET /openapi.json lists what there is"
    )
    problem.headers.update(error.headers or {})
    return problem


async def read_body(request: Request, limit_bytes: int, within_seconds: float = BODY_SECONDS) -> bytes:
    """Read the whole body.

    Raises HttpProblem 413 as soon as it is known to be too long, 408 if it takes too long to come.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise too_long(limit_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within_seconds):
            more = True
            while more:  # request.stream() does the same at three times the cost
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > limit_bytes:
                    raise too_long(limit_bytes)
                chunks.append(chunk)
                more = message.get("more_body", False)
    except TimeoutError:
        slow = f"the body did not arrive within {within_seconds:.3g} seconds"
        raise HttpProblem(408, "too-slow", slow, connection="close") from None
    return b"".join(chunks)


def too_long(limit_bytes: int) -> HttpProblem:
    """Make the problem for a body over its limit: 413."""
    return HttpProblem(413, "too-large", f"the body is longer than {limit_bytes} bytes")


async def read_model(request: Request, model: type[Model], limit_bytes: int = PROTOCOL_BODY_BYTES) -> Model:
    """Read the body as a message of the protocol. Raises HttpProblem 408, 413 or 422."""
    return _parsed(await read_body(request, limit_bytes), model)


async def read_optional_model(request: Request, model: type[Model]) -> Model:
    """Read the body as a message all of whose fields have defaults; it may be empty. Raises HttpProblem likewise."""
    return _parsed(await read_body(request, PROTOCOL_BODY_BYTES) or b"{}", model)


def _parsed(body: bytes, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _malformed(error) from None


def read_query(request: Request, model: type[Model]) -> Model:
    """Read the query as a model. Raises HttpProblem 422, also where a parameter is given twice."""
    parameters = request.query_params.multi_items()
    if len(dict(parameters)) < len(parameters):
        raise HttpProblem(422, "malformed", "a parameter of the query is given twice")
    return checked_model(dict(parameters), model)


def checked_model(content: object, model: type[Model]) -> Model:
    """Make a model of what was read already. Raises HttpProblem 422."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _malformed(error) from None


def _malformed(error: ValidationError) -> HttpProblem:
    faults = error.errors(include_input=False, include_url=False)[:5]
    return HttpProblem(422, "malformed", "; ".join(map(_fault_message, faults)))


def _fault_message(fault: ErrorDetails) -> str:
    """Say where a message is wrong, and why, without repeating its content: that may hold a secret, or megabytes."""
    where = ".".join(part if _NAME.fullmatch(part) else "…" for part in map(str, fault["loc"]))
    why = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "union_tag_invalid":  # its message quotes the tag
        why = "{discriminator} has to be one of {expected_tags}".format_map(fault.get("ctx", {}))
    return f"{where}: {why}" if where else why


def path_id(request: Request, problem: HttpProblem) -> int:
    """Read the path's ``{id}``. Raises ``problem`` where it is no possible number of a row."""
    text: str = request.path_params["id"]
    if text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) < 2**63:
        return int(text)
    raise problem
