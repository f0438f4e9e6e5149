"""Posts one bucket's events to its webhook in the background.

At least once and in batches: 2xx acknowledges a whole request. Any other status, or none, is tried again with growing
pauses until the retries run out; then the events are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import heapq
import itertools
import ssl
import sys
from collections import deque
from dataclasses import dataclass

import httpx

from infra.local.counts import Counts
from infra.local.notifications import NotificationTarget
from infra.local.options import Posting
from infra.local.payload import HubEvent, body
from workers.bounded_read import BodyTooLong, read_bounded

_MAX_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Request:
    """Events that are posted together, and how often they were."""

    events: tuple[HubEvent, ...]
    attempts: int = 0


def client(posting: Posting) -> httpx.AsyncClient:
    """The HTTP client for all buckets. To be made before the first event."""
    return httpx.AsyncClient(verify=_tls(), timeout=posting.timeout_seconds, follow_redirects=False, trust_env=False)


@functools.cache
def _tls() -> ssl.SSLContext:
    # Reading the certificate authorities takes 30 ms and more, in which the event loop would stand still.
    return httpx.create_ssl_context(trust_env=False)


class Delivery:
    """One bucket's queue and the task that empties it. To be made inside a running event loop, and closed."""

    def __init__(
        self,
        notifications: NotificationTarget,
        posting: Posting,
        counts: Counts,
        client: httpx.AsyncClient,
        max_pending: int,
    ) -> None:
        self.notifications: NotificationTarget | None = notifications
        """The webhook that the next request goes to."""
        self.pending = 0
        """Events, copies included, that are neither acknowledged nor given up."""
        self._posting = posting
        self._counts = counts
        self._client = client
        self._max_pending = max_pending
        self._ready: deque[HubEvent] = deque()
        self._waiting: list[tuple[float, int, _Request]] = []
        self._tiebreak = itertools.count()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    def put(self, event: HubEvent, wait_seconds: float = 0.0) -> None:
        """Queue an event, to be posted after ``wait_seconds`` or later."""
        if self.pending >= self._max_pending:
            self._counts.discarded += 1
            return
        self.pending += 1
        if wait_seconds:
            self._put_off(_Request((event,)), wait_seconds)
        else:
            self._ready.append(event)
            self._wake.set()

    def clear(self) -> None:
        """Discard what is queued, and post nothing until there is a webhook again."""
        self.notifications = None
        self._discard(len(self._ready) + sum(len(request.events) for _, _, request in self._waiting))
        self._ready.clear()
        self._waiting.clear()

    async def close(self) -> None:
        """Stop. Pending events are discarded."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._discard(self.pending)

    def _discard(self, events: int) -> None:
        self._counts.discarded += events
        self.pending -= events

    def _put_off(self, request: _Request, wait_seconds: float) -> None:
        heapq.heappush(self._waiting, (self._loop.time() + wait_seconds, next(self._tiebreak), request))
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._post(await self._next())

    async def _next(self) -> _Request:
        """Wait for the next request: one that is due for a retry, or a batch of events that are ready."""
        while True:
            self._wake.clear()
            if repeated := self._due():
                return repeated
            if self._ready:
                return await self._batch()
            await self._wait_for_work()

    def _due(self) -> _Request | None:
        """Move events that are due to the ready ones; return the first request that is due for a retry."""
        while self._waiting and self._waiting[0][0] <= self._loop.time():
            request = heapq.heappop(self._waiting)[2]
            if request.attempts:
                return request
            self._ready.extend(request.events)
        return None

    async def _batch(self) -> _Request:
        if len(self._ready) < self._posting.batch:
            await asyncio.sleep(self._posting.linger_seconds)
        count = min(len(self._ready), self._posting.batch)
        return _Request(tuple(self._ready.popleft() for _ in range(count)))

    async def _wait_for_work(self) -> None:
        until = self._waiting[0][0] if self._waiting else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._wake.wait()

    async def _post(self, request: _Request) -> None:
        if self.notifications is None:
            self._discard(len(request.events))
            return
        outcome = await self._attempt(self.notifications, request)
        self._counts.answered(outcome)
        if outcome.startswith("2"):
            self._counts.posted += len(request.events)
            self.pending -= len(request.events)
        elif self._posting.retries is not None and request.attempts >= self._posting.retries:
            self._give_up(request, outcome)
        else:
            self._counts.retries += 1
            self._put_off(_Request(request.events, request.attempts + 1), self._backoff_seconds(request.attempts))

    def _give_up(self, request: _Request, outcome: str) -> None:
        self._counts.given_up += len(request.events)
        self.pending -= len(request.events)
        sys.stderr.write(f"local bucket: gave up {len(request.events)} events, the last attempt ended {outcome}\n")

    def _backoff_seconds(self, attempts: int) -> float:
        doubled = self._posting.backoff_seconds * 2.0 ** min(attempts, 32)  # unlimited retries would overflow a float
        return min(doubled, self._posting.max_backoff_seconds)

    async def _attempt(self, to: NotificationTarget, request: _Request) -> str:
        """Post once. The status, or ``timeout`` or ``unreachable`` where there was none."""
        try:
            async with asyncio.timeout(self._posting.timeout_seconds):
                return str(await self._status(to, request))
        except TimeoutError:
            return "timeout"
        except httpx.HTTPError:
            return "unreachable"

    async def _status(self, to: NotificationTarget, request: _Request) -> int:
        headers = {"content-type": "application/json"}
        if to.auth:
            headers["authorization"] = to.auth.header()
        content = body(request.events, stamps=self._posting.stamps)
        async with self._client.stream("POST", to.url, content=content, headers=headers) as response:
            # Only the status counts. A short body is read to its end, so that the connection can be used again.
            with contextlib.suppress(BodyTooLong):
                await read_bounded(response.aiter_raw(), _MAX_ANSWER_BYTES)
            return response.status_code
