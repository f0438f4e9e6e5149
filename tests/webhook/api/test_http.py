"""Problems, bodies, queries and numbers in paths, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from webhook.api.filters import Filter
from webhook.api.http import HttpProblem, json_response, on_problem, path_id, read_body, read_query
from webhook.batching import Overloaded
from webhook.ledger.database import LedgerUnavailable


def request(*messages: Message, query: str = "", headers: dict[str, str] | None = None, **path: str) -> Request:
    """A request whose body arrives in ``messages``."""
    waiting = iter(messages)

    async def receive() -> Message:
        return next(waiting)

    sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope: dict[str, Any] = {"type": "http", "query_string": query.encode(), "headers": sent, "path_params": path}
    return Request(scope, receive)


def part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_read_from_all_its_parts() -> None:
    assert await read_body(request(part(b"ab", more=True), part(b"cd", more=False)), 4) == b"abcd"


async def test_a_body_too_long_is_refused_by_its_declared_and_by_its_real_length() -> None:
    for long in (request(headers={"content-length": "5"}), request(part(b"ab", more=True), part(b"cde", more=True))):
        with pytest.raises(HttpProblem) as raised:
            await read_body(long, 4)
        assert raised.value.status == 413


async def test_a_body_that_ends_early_is_no_body() -> None:
    with pytest.raises(ClientDisconnect):
        await read_body(request(part(b"ab", more=True), {"type": "http.disconnect"}), 4)


def test_a_query_is_a_model_and_says_nothing_twice() -> None:
    assert read_query(request(query="older_seconds=5"), Filter) == Filter(older_seconds=5)
    for query in ("older_seconds=5&older_seconds=6", "older=5", "older_seconds=x"):
        with pytest.raises(HttpProblem) as raised:
            read_query(request(query=query), Filter)
        assert (raised.value.status, raised.value.error) == (422, "malformed")


@pytest.mark.parametrize("text", ["1", "007", str(2**63 - 1)])
def test_a_number_in_the_path(text: str) -> None:
    assert path_id(request(id=text), HttpProblem(404, "x", "x")) == int(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.0", "x", "²", str(2**63), "1" * 5000])
def test_what_no_row_has_as_its_number_is_the_callers_problem(text: str) -> None:
    problem = HttpProblem(404, "unknown", "there is none")
    with pytest.raises(HttpProblem) as raised:
        path_id(request(id=text), problem)
    assert raised.value is problem


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (HttpProblem(409, "lease-lost", "it is lost"), 409, "lease-lost"),
        (LedgerUnavailable("away"), 503, "ledger-unavailable"),
        (Overloaded(), 503, "overloaded"),
        (ClientDisconnect(), 400, "disconnected"),
        (HTTPException(404), 404, "not-found"),
        (RuntimeError("secret"), 500, "internal"),
    ],
)
def test_an_exception_becomes_a_problem(error: Exception, status: int, code: str) -> None:
    response = on_problem(error)
    body = json.loads(bytes(response.body))
    assert (response.status_code, body["error"], set(body)) == (status, code, {"error", "message"})
    assert ("retry-after" in response.headers) == (status == 503)
    assert b"secret" not in bytes(response.body)


def test_a_model_becomes_json() -> None:
    response = json_response(Filter(older_seconds=5), 201)
    assert (response.status_code, response.headers["content-type"]) == (201, "application/json")
    assert json.loads(bytes(response.body))["older_seconds"] == 5
