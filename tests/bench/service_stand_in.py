"""A stand-in for a service's server, bare uvicorn: ``python -m tests.bench.service_stand_in PORT``."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

SMALL = b'{"output": "a small answer"}'
CHUNK = bytes(1 << 18)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer a small text at /, so many MiB at /give/MIB, and the number of bytes that were posted at /take."""
    path = scope["path"]
    if path == "/take":
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        await _answer(send, str(size).encode())
    elif path.startswith("/give/"):
        chunks = int(path.removeprefix("/give/")) * (1 << 20) // len(CHUNK)
        length = str(chunks * len(CHUNK)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        for _ in range(chunks):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        await send({"type": "http.response.body"})
    else:
        await _answer(send, SMALL)


async def _answer(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
