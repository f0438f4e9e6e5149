"""A JSON API over HTTP that does worse than a real one: answers lost after their effect, hangs, errors, cut bodies.

A request that the API would not take is answered 400 and noted: the place that runs the API fails its test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from infra.market.exchange import ApiRequest, Reply, Wrong, expect, read_request, texts, written
from tests.stream_server import stream_server

__all__ = ["ApiFault", "ApiRequest", "Deed", "FakeApi", "Reply", "Wrong", "expect", "texts"]

Deed = Literal["pass", "answer", "fail", "lose", "hang", "cut"]


@dataclass
class ApiFault:
    """What happens to the next request of a method."""

    method: str
    deed: Deed
    """``pass``: nothing. ``lose``: the effect, and no answer. ``cut``: the effect, and half an answer. ``fail``: the
    effect, and the reply. The other two have no effect."""
    reply: Reply = field(default_factory=lambda: Reply(500, text="upstream connect error"))


class FakeApi:
    """Subclasses answer in ``handle``."""

    key = "account-key-of-this-test"
    creation = "POST"
    """Method by which machines are made."""
    unauthorized = Reply(401, {"error": "unauthorized"})

    def __init__(self) -> None:
        self.requests: list[ApiRequest] = []
        self.wrong: list[str] = []
        self.faults: list[ApiFault] = []

    def handle(self, request: ApiRequest) -> Reply:
        raise NotImplementedError

    def fault(self, method: str, deed: Deed, reply: Reply | None = None) -> None:
        self.faults.append(ApiFault(method, deed, reply) if reply else ApiFault(method, deed))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its base URL. Fails at the end if any request was wrong."""
        async with stream_server(self._serve) as port:
            yield f"http://127.0.0.1:{port}"
        assert self.wrong == []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._answer(await read_request(reader), writer)

    async def _answer(self, request: ApiRequest, writer: asyncio.StreamWriter) -> None:
        self.requests.append(request)
        fault = next((each for each in self.faults if each.method == request.method), None)
        if fault:
            self.faults.remove(fault)
        if fault and fault.deed == "hang":
            await asyncio.Event().wait()  # until the test has ended
            return
        raw = written(self._reply(request, fault))
        if not (fault and fault.deed == "lose"):
            writer.write(raw[: len(raw) - 9] if fault and fault.deed == "cut" else raw)
            await writer.drain()

    def _reply(self, request: ApiRequest, fault: ApiFault | None) -> Reply:
        if fault and fault.deed == "answer":
            return fault.reply
        handled = self._handled(request)
        return fault.reply if fault and fault.deed == "fail" else handled

    def _handled(self, request: ApiRequest) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return self.unauthorized
        try:
            return self.handle(request)
        except (Wrong, KeyError, TypeError, ValueError) as error:
            self.wrong.append(f"{request.method} {request.path}: {error!r}")
            return Reply(400, {"error": repr(error)})
