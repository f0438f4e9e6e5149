"""HTTP for what an app does, once for blocking callers and for asyncio.

What is sent, repeated and read is written once, as coroutines that await nothing but a `Transport`. The blocking one
never suspends, so that `run_blocking` runs such a coroutine to its end by a single step.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol, TypeVar

import httpx

Value = TypeVar("Value")
Job = Callable[[], Coroutine[Any, Any, None]]
"""Starts one of several pieces of work that are done side by side."""
Body = bytes | Callable[[], AsyncIterator[bytes]]
"""What a request carries; a function gives the bytes anew for each time that it is sent."""

PAST_PROXIES: Mapping[str, None] = {
    "all://localhost": None,
    "all://*.localhost": None,
    "all://127.0.0.1": None,
    "all://[::1]": None,
}
"""``mounts`` of httpx: this machine cannot be reached through a proxy, and ``NO_PROXY`` often does not say so."""
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
MAX_ANSWER_BYTES = 32 << 20
"""Of an answer that is read into memory."""


class Disconnected(Exception):
    """A request had no answer, or not all of it. The message is the kind of error: never a URL."""

    def __init__(self, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        """That the server asks to wait."""


class AnswerTooLong(Exception):
    """An answer has more bytes than were allowed."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Body = field(default=b"", repr=False)
    read_seconds: float = READ_SECONDS
    """Longest silence of the server."""


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An answer whose body is still to come."""

    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    chunks: AsyncIterator[bytes]

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer with its body."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class Transport(Protocol):
    """Sends requests and waits, blocking or not."""

    def stream(self, request: HttpRequest) -> AbstractAsyncContextManager[StreamedAnswer]:
        """Send a request; the context is its answer. Raises `Disconnected`, also while the body is read."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait."""
        ...

    async def on_disk(self, work: Callable[[], Value]) -> Value:
        """Do work that waits for a disk."""
        ...

    async def side_by_side(self, jobs: Iterable[Job], width: int) -> None:
        """Do jobs, ``width`` at a time. Raises the first error, after which no further job begins."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


async def read_whole(answer: StreamedAnswer, max_bytes: int = MAX_ANSWER_BYTES) -> HttpAnswer:
    """Read an answer into memory. Raises `Disconnected` and `AnswerTooLong`."""
    content = bytearray()
    async for chunk in answer.chunks:
        content += chunk
        if len(content) > max_bytes:
            raise AnswerTooLong
    return HttpAnswer(answer.status, answer.headers, bytes(content))


def tls_context() -> ssl.SSLContext:
    """Return the certificates that are trusted. Reading them takes longer than most requests: it is done once."""
    return _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _tls_context(file: str | None, folder: str | None) -> ssl.SSLContext:
    if file or folder:
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    return httpx.create_ssl_context()


def timeouts(request: HttpRequest) -> httpx.Timeout:
    """Time limits of a request."""
    return httpx.Timeout(request.read_seconds, connect=CONNECT_SECONDS)


def hide_queries() -> None:
    """Keep the signatures of presigned URLs out of the log that httpx writes."""
    logging.getLogger("httpx").addFilter(_without_query)


def _without_query(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(_shown(part) for part in record.args)
    return True


def _shown(part: object) -> object:
    return part.copy_with(query=None) if isinstance(part, httpx.URL) else part
