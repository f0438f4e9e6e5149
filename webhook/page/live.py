"""Sends what happens to all browsers that watch: parts of the page as server-sent events, made once for all of them.

While a browser watches, the state is read once a second, more seldom where reading it takes long. What did not change
is not sent again; a browser that was away gets all parts when it is back. Each browser has at most one message waiting:
one that is slow misses what lies between.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

import structlog

from webhook.api.http import HttpProblem
from webhook.ledger.database import LedgerUnavailable, LedgerUnusable

log = structlog.get_logger()

MOST_WATCHERS = 100
"""Browsers that watch one replica at once."""
_INTERVAL_SECONDS = 1.0
_SHARE = 10
"""Reading the state takes at most one in so many seconds."""
_BEAT_SECONDS = 5.0
_BEAT = "event: beat\ndata:\n\n"
"""Shows a browser that the connection works while nothing changes."""


class LiveFeed:
    """One reading of the state a second, for all browsers that watch.

    Args:
        read: Reads the state: HTML by the names of the page's parts. May raise LedgerUnavailable.

    """

    def __init__(self, read: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._read = read
        self._parts: Mapping[str, str] = {}
        self._failure = ""
        self._turn = 0
        self._turned = asyncio.Condition()
        self._watchers = 0
        self._reading: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def watchers(self) -> int:
        """Browsers that watch now."""
        return self._watchers

    async def aclose(self) -> None:
        """End all streams: the browsers come back to another replica, or later."""
        self._closed = True
        await self._stop()
        async with self._turned:
            self._turned.notify_all()

    async def latest(self) -> Mapping[str, str]:
        """The state as it was read last, or read now where no browser watches. Raises LedgerUnavailable."""
        return self._parts if self._reading and self._parts and not self._failure else await self._read()

    def admit(self) -> None:
        """Raise HttpProblem 503 where too many browsers watch, or this replica is leaving."""
        if self._closed or self._watchers >= MOST_WATCHERS:
            raise HttpProblem(503, "busy", f"{MOST_WATCHERS} pages are open on this replica: close some")

    async def watch(self, goes_on: Callable[[], bool]) -> AsyncIterator[str]:
        """Yield the messages for one browser, as long as ``goes_on`` says so."""
        sent: dict[str, str] = {}
        # What was read before nothing watched is old: the first browser waits for the next reading.
        turn = -1 if self._reading else self._turn
        with self._counted():
            while goes_on():
                before = turn
                turn, parts, failure = await self._next(before)
                if self._closed:
                    return
                if turn == before:
                    yield _BEAT
                    continue
                if failure:
                    yield _message("failing", failure)
                    continue
                changed = {name: part for name, part in parts.items() if sent.get(name) != part}
                sent.update(changed)
                yield _message("view", changed) if changed else _BEAT

    async def _next(self, seen: int) -> tuple[int, Mapping[str, str], str]:
        """Wait for the reading after one, or until the browser has to hear that the connection works."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BEAT_SECONDS), self._turned:
                await self._turned.wait_for(lambda: self._closed or self._turn != seen)
        return self._turn, self._parts, self._failure

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._watchers += 1
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_on())
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers and self._reading is not None:
                self._reading.cancel()
                self._reading = None

    async def _stop(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait({reading})

    async def _read_on(self) -> None:
        """Read the state for as long as a browser watches."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            parts, failure = await self._read_once()
            async with self._turned:
                self._parts, self._failure = parts or self._parts, failure
                self._turn += 1
                self._turned.notify_all()
            await asyncio.sleep(max(_INTERVAL_SECONDS, _SHARE * (loop.time() - began)))

    async def _read_once(self) -> tuple[Mapping[str, str], str]:
        """The parts, or why they cannot be had."""
        try:
            return await self._read(), ""
        except (LedgerUnavailable, LedgerUnusable) as error:
            return {}, f"{error}. Uploads are safe: they are processed when it is back."
        except Exception:  # a watcher must see that something is wrong, not a page that stands still
            log.exception("live view")
            return {}, "the state cannot be read: this is a fault of the control plane, whose log says more."


def _message(event: str, data: object) -> str:
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"
