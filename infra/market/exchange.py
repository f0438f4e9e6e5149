"""Reads and writes the HTTP requests and answers of pretend APIs, and checks what a request holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

BODY_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True)
class ApiRequest:
    """One request, its body read as JSON."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any


@dataclass(frozen=True)
class Reply:
    """The answer to a request."""

    status: int
    value: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    """In place of JSON."""


LOST = Reply(0)
"""In place of an answer: the connection ends without one, though the request took effect."""


class Wrong(Exception):
    """The request is not one that the API takes."""


async def read_request(reader: asyncio.StreamReader) -> ApiRequest:
    """Read one request. Raises IncompleteReadError, LimitOverrunError, ValueError."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): text for line in head[1:] if line for name, text in [line.split(": ", 1)]}
    length = int(headers.get("content-length", 0))
    if not 0 <= length <= BODY_LIMIT_BYTES:
        raise ValueError(f"a body of {length} bytes")
    body = await reader.readexactly(length)
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    return ApiRequest(method, unquote(parts.path), query, headers, json.loads(body) if body else None)


def written(reply: Reply) -> bytes:
    """An answer as it goes over the wire, after which the connection is closed."""
    body = (reply.text if reply.text is not None else "" if reply.value is None else json.dumps(reply.value)).encode()
    headers = {"Content-Length": str(len(body)), "Connection": "close", **reply.headers}
    head = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    return f"HTTP/1.1 {reply.status} Status\r\n{head}\r\n".encode() + body


def expect(value: Any, **types: Any) -> None:
    """An object with these fields, each of its type, and no others. A type in brackets: the field may be missing."""
    if not isinstance(value, dict):
        raise Wrong(f"{value!r} is no object")
    if not set(value) <= set(types):
        raise Wrong(f"unknown fields: {sorted(set(value) - set(types))}")
    for name, kind in types.items():
        wanted = kind[0] if isinstance(kind, list) else kind
        if name in value and (not isinstance(value[name], wanted) or (wanted is int and value[name] is True)):
            raise Wrong(f"{name} is a {type(value[name]).__name__}")
        if name not in value and not isinstance(kind, list):
            raise Wrong(f"{name} is missing")


def texts(values: Iterable[Any]) -> None:
    """Texts alone."""
    for value in values:
        if not isinstance(value, str):
            raise Wrong(f"{value!r} is no text")
