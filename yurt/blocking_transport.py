"""Sends requests and waits by blocking the calling thread; work side by side has threads of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from yurt.transport import (
    PAST_PROXIES,
    Body,
    Disconnected,
    HttpRequest,
    Job,
    StreamedAnswer,
    hide_queries,
    timeouts,
    tls_context,
)

Value = TypeVar("Value")


def run_blocking(work: Coroutine[Any, Any, Value]) -> Value:
    """Run a coroutine that awaits only a `BlockingTransport`. It never suspends, and so ends at its first step."""
    try:
        work.send(None)
    except StopIteration as end:
        value: Value = end.value
        return value
    work.close()
    raise RuntimeError("a coroutine with a blocking transport has awaited something else")


def iterate_blocking(items: AsyncIterator[Value]) -> Generator[Value, None, None]:
    """Iterate over an asynchronous generator that awaits only a `BlockingTransport`."""

    async def following() -> Value:
        return await anext(items)

    try:
        while True:
            try:
                item = run_blocking(following())
            except StopAsyncIteration:
                return
            yield item
    finally:
        if (close := getattr(items, "aclose", None)) is not None:
            run_blocking(close())


class BlockingTransport:
    """A `yurt.transport.Transport` for callers without an event loop. May be used from many threads."""

    def __init__(self) -> None:
        hide_queries()
        self._http = httpx.Client(mounts=PAST_PROXIES, verify=tls_context())

    @asynccontextmanager
    async def stream(self, request: HttpRequest) -> AsyncIterator[StreamedAnswer]:
        """Send a request; the context is its answer. Raises `Disconnected`, also while the body is read."""
        try:
            with self._http.stream(
                request.method,
                request.url,
                headers=dict(request.headers),
                content=_content(request.body),
                timeout=timeouts(request),
            ) as answer:
                yield StreamedAnswer(answer.status_code, answer.headers, _asynchronous(answer.iter_bytes()))
        except httpx.HTTPError as error:
            raise Disconnected(type(error).__name__) from None

    async def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: ASYNC251  blocking is what this transport is for

    async def on_disk(self, work: Callable[[], Value]) -> Value:
        """Do work that waits for a disk."""
        return work()

    async def side_by_side(self, jobs: Iterable[Job], width: int) -> None:
        """Do jobs in ``width`` threads. Raises the first error, after which no further job begins."""
        queue = _Queue(jobs)
        with ThreadPoolExecutor(width, "yurt") as threads:
            working = [threads.submit(queue.work) for _ in range(width)]
            try:
                wait(working, return_when=FIRST_EXCEPTION)
            finally:
                queue.stop()
        for done in working:
            done.result()

    async def close(self) -> None:
        """Close all connections."""
        self._http.close()


class _Queue:
    """Jobs that several threads take from."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._lock = threading.Lock()
        self._stopped = False

    def work(self) -> None:
        """Do jobs until none is left."""
        while (job := self._next()) is not None:
            run_blocking(job())

    def stop(self) -> None:
        """Begin no further job."""
        self._stopped = True

    def _next(self) -> Job | None:
        with self._lock:
            return None if self._stopped else next(self._jobs, None)


def _content(body: Body) -> bytes | Iterator[bytes]:
    return body if isinstance(body, bytes) else iterate_blocking(body())


async def _asynchronous(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
