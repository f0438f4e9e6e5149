"""A JSON API over HTTP that does worse than a real one: answers lost after their effect, hangs, errors, cut bodies.

A request that the API would not take is answered 400 and noted: the place that runs the API fails its test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

Deed = Literal["pass", "answer", "lose", "hang", "cut"]


@dataclass(frozen=True)
class ApiRequest:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    status: int
    value: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    """In place of JSON."""


@dataclass
class ApiFault:
    """What happens to the next request of a method."""

    method: str
    deed: Deed
    """``pass``: nothing. ``lose``: the effect, and no answer. ``cut``: the effect, and half an answer. The other two
    have no effect."""
    reply: Reply = field(default_factory=lambda: Reply(500, text="upstream connect error"))


class Wrong(Exception):
    """The request is not one that the API takes."""


class FakeApi:
    """Subclasses answer in ``handle``."""

    key = "account-key-of-this-test"

    def __init__(self) -> None:
        self.requests: list[ApiRequest] = []
        self.wrong: list[str] = []
        self.faults: list[ApiFault] = []
        self._over = asyncio.Event()

    def handle(self, request: ApiRequest) -> Reply:
        raise NotImplementedError

    def fault(self, method: str, deed: Deed, reply: Reply | None = None) -> None:
        self.faults.append(ApiFault(method, deed, reply) if reply else ApiFault(method, deed))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its base URL. Fails at the end if any request was wrong."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            self._over.set()
            server.close()
            await server.wait_closed()
        assert self.wrong == []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(await _read(reader), writer)
        writer.close()

    async def _answer(self, request: ApiRequest, writer: asyncio.StreamWriter) -> None:
        self.requests.append(request)
        fault = next((each for each in self.faults if each.method == request.method), None)
        if fault:
            self.faults.remove(fault)
        if fault and fault.deed == "hang":
            await self._over.wait()
            return
        written = _written(fault.reply if fault and fault.deed == "answer" else self._handled(request))
        if not (fault and fault.deed == "lose"):
            writer.write(written[: len(written) - 9] if fault and fault.deed == "cut" else written)
            await writer.drain()

    def _handled(self, request: ApiRequest) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return Reply(401, {"error": "unauthorized"})
        try:
            return self.handle(request)
        except (Wrong, KeyError, TypeError, ValueError) as error:
            self.wrong.append(f"{request.method} {request.path}: {error!r}")
            return Reply(400, {"error": repr(error)})


async def _read(reader: asyncio.StreamReader) -> ApiRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): text for line in head[1:] if line for name, text in [line.split(": ", 1)]}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    return ApiRequest(method, unquote(parts.path), query, headers, json.loads(body) if body else None)


def _written(reply: Reply) -> bytes:
    body = (reply.text if reply.text is not None else "" if reply.value is None else json.dumps(reply.value)).encode()
    headers = {"Content-Length": str(len(body)), "Connection": "close", **reply.headers}
    head = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    return f"HTTP/1.1 {reply.status} Status\r\n{head}\r\n".encode() + body


def expect(value: Any, **types: Any) -> None:
    """An object with these fields, each of its type, and no others. A type in brackets: the field may be missing."""
    if not isinstance(value, dict) or not set(value) <= set(types):
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
