"""Collects the answer of a service's server, its body in a file where it is large."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

from starlette.types import Message

from webhook.proxy.forwarding import ForwardingProblem

MAX_ANSWER_BYTES = 256 << 20
"""Of a body that is put into the bucket."""
_MEMORY_BYTES = 256 << 10
"""Of a body that is kept in memory."""
_CHUNK_BYTES = 1 << 20


class SpooledAnswer:
    """An answer, of which the ASGI messages tell. To be entered: its file is closed at the end."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.size = 0
        """Bytes of the body."""
        self._file = SpooledTemporaryFile[bytes](_MEMORY_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    async def send(self, message: Message) -> None:
        """Take a part of the answer. Raises ForwardingProblem where the body is too long."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            return
        chunk = message["body"]
        self.size += len(chunk)
        if self.size > MAX_ANSWER_BYTES:
            raise ForwardingProblem(
                502, "answer-too-large", f"the answer is longer than the {MAX_ANSWER_BYTES} bytes that are kept: "
                "wait for it, or have the server write it into a bucket",
            )  # fmt: skip
        if self.size > _MEMORY_BYTES:
            await asyncio.to_thread(self._file.write, chunk)
        else:
            self._file.write(chunk)

    @property
    def content_type(self) -> str:
        """Of the body."""
        return next((value for name, value in self.headers if name == "content-type"), "application/octet-stream")

    async def body(self) -> AsyncIterator[bytes]:
        """The whole body, from its beginning."""
        self._file.seek(0)
        while chunk := await asyncio.to_thread(self._file.read, _CHUNK_BYTES):
            yield chunk
