"""Sends requests and waits on the event loop of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx

from yurt.transport import (
    PAST_PROXIES,
    Disconnected,
    HttpRequest,
    Job,
    StreamedAnswer,
    hide_queries,
    timeouts,
    tls_context,
)

Value = TypeVar("Value")


class AsyncTransport:
    """A `yurt.transport.Transport` for coroutines. Use it on one event loop."""

    def __init__(self) -> None:
        hide_queries()
        self._http = httpx.AsyncClient(mounts=PAST_PROXIES, verify=tls_context())

    @asynccontextmanager
    async def stream(self, request: HttpRequest) -> AsyncIterator[StreamedAnswer]:
        """Send a request; the context is its answer. Raises `Disconnected`, also while the body is read."""
        body = request.body
        try:
            async with self._http.stream(
                request.method,
                request.url,
                headers=dict(request.headers),
                content=body if isinstance(body, bytes) else body(),
                timeout=timeouts(request),
            ) as answer:
                yield StreamedAnswer(answer.status_code, answer.headers, answer.aiter_bytes())
        except httpx.HTTPError as error:
            raise Disconnected(type(error).__name__) from None

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def on_disk(self, work: Callable[[], Value]) -> Value:
        """Do work that waits for a disk, in a thread."""
        return await asyncio.to_thread(work)

    async def side_by_side(self, jobs: Iterable[Job], width: int) -> None:
        """Do jobs in ``width`` tasks. Raises the first error, after which no further job begins."""
        queue = iter(jobs)
        working = [asyncio.create_task(_work(queue)) for _ in range(width)]
        try:
            await asyncio.gather(*working)
        finally:
            for task in working:
                task.cancel()
            await asyncio.wait(working)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()


async def _work(queue: Iterator[Job]) -> None:
    for job in queue:
        await job()
