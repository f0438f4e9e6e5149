"""Listens to the other end of an HTTP/1.1 connection while a request's body is sent, which httpcore does not.

An answer that comes before the body's end (401, 413, or that no machine has taken the request) is the answer: the rest
of the body is given up, and the connection with it. Without this it would be seen once the whole body was sent, which
never happens where a client waits for the answer.

Beyond what can be sent again, another replica first says that a machine has taken the request: by ``100 Continue``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import httpcore

from webhook.proxy.forwarding import KEPT_BYTES

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TAKEN_SECONDS = 5.0
"""The body goes on where another replica says nothing for so long: a proxy in between may keep ``100 Continue``."""
_READ_BYTES = 64 << 10
_sending: dict[asyncio.Task[object] | None, SentBody] = {}
"""The body that a task sends: httpcore does not tell a connection whose request it writes.

A context variable would not do: a client's connection whose reading is resumed meanwhile would keep it for the requests
that follow.
"""


class _UnlessAnswered:
    """Ends what the task waits for once the other end has answered: by httpcore's WriteError, after which it reads."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._has_ended = False
        self.is_answered = False

    def answered(self) -> None:
        """The other end has answered, or is gone."""
        self.is_answered = True
        if self._task is not None:
            self._has_ended = True
            self._task.cancel()

    def __enter__(self) -> Self:
        if self.is_answered:
            raise httpcore.WriteError("the answer has come before the body's end")
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        assert task is not None
        if self._has_ended and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise httpcore.WriteError("the answer has come before the body's end") from error


class SentBody:
    """A request's body on its way over a connection of a `ListeningBackend`."""

    def __init__(self, chunks: AsyncIterator[bytes], *, is_told: bool) -> None:
        """``is_told``: the other end says ``100 Continue`` once the request is taken."""
        self._chunks = chunks
        self._taken = asyncio.Event()
        if not is_told:
            self._taken.set()
        self.unless_answered = _UnlessAnswered()
        self.listened_to = False
        """Whether its connection listens."""

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Have connections that this task writes to listen, for the length of the ``with`` block."""
        task = asyncio.current_task()
        _sending[task] = self
        try:
            yield
        finally:
            del _sending[task]

    def taken(self) -> None:
        """A machine has taken the request."""
        self._taken.set()

    def answered(self) -> None:
        """The other end has answered, or is gone."""
        self._taken.set()
        self.unless_answered.answered()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        passed = 0
        while True:
            with self.unless_answered:
                chunk = await anext(self._chunks, None)
            if chunk is None:
                return
            yield chunk
            passed += len(chunk)
            if passed > KEPT_BYTES and not self._taken.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TAKEN_SECONDS):
                        await self._taken.wait()
                self._taken.set()


class ListeningBackend(httpcore.AsyncNetworkBackend):
    """Opens connections that listen while a body is sent."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See httpcore."""
        stream = await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return ListeningStream(stream)

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await asyncio.sleep(seconds)


class ListeningStream(httpcore.AsyncNetworkStream):
    """A connection that reads ahead while a `SentBody` is written to it."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._ahead: asyncio.Task[bytes] | None = None
        self._is_broken_off = False
        """Whether a request may not have been written to its end."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what was read ahead, or else more."""
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return await ahead
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write, unless the answer comes first: then httpcore's WriteError is raised."""
        body = _sending.get(asyncio.current_task())
        if body is None:
            await self._inner.write(buffer, timeout)
            return
        if not body.listened_to:
            body.listened_to = True
            self._ahead = asyncio.create_task(self._listen(body))
        try:
            with body.unless_answered:
                await self._inner.write(buffer, timeout)
        except httpcore.WriteError:
            self._is_broken_off = True
            raise

    async def aclose(self) -> None:
        """Close it."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait([self._ahead])
            if not self._ahead.cancelled():
                self._ahead.exception()  # nobody asks for it any more
            self._ahead = None
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See httpcore."""
        return ListeningStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """See httpcore, which uses no idle connection again that says that it can be read: that has ended."""
        if info == "is_readable" and self._is_broken_off:
            return True
        return self._inner.get_extra_info(info)

    async def _listen(self, body: SentBody) -> bytes:
        """Wait for the answer's first bytes."""
        read = b""
        try:
            while True:
                more = await self._inner.read(_READ_BYTES)
                read += more
                if read.startswith(CONTINUE):
                    body.taken()
                    read = read.removeprefix(CONTINUE)
                if not more or not CONTINUE.startswith(read):
                    return read
        finally:
            body.answered()
