"""An engine that answers with what a test gives it: for faults that no real engine shows on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.stream_server import stream_server

VERSION = {"ApiVersion": "1.43", "MinAPIVersion": "1.24", "Version": "24.0.7", "Components": [{"Name": "Engine"}]}


@dataclass
class CannedEngine:
    """``answers`` has a status and a body for the beginning of ``METHOD /path``; an event to wait for comes first."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=lambda: {"GET /version": (200, VERSION)})
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def host(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request = head.partition(" HTTP/")[0]
        self.requests.append(request)
        self.headers.append(head)
        if event := _of(self.held, request):
            await event.wait()
        status, body = _of(self.answers, request) or (404, {"message": f"nothing at {request}"})
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()


def _of(table: dict[str, Any], request: str) -> Any:
    """The entry for a request, whose path may have the API's version before it."""
    method, _, path = request.partition(" ")
    bare = path if path.startswith("/version") else "/" + path.partition("/v1.")[2].partition("/")[2]
    return next((found for key, found in table.items() if f"{method} {bare}".startswith(key)), None)


@asynccontextmanager
async def canned_engine(change: Callable[[CannedEngine], None] = lambda _: None) -> AsyncIterator[CannedEngine]:
    engine = CannedEngine()
    change(engine)
    async with stream_server(engine.serve) as engine.port:
        yield engine
