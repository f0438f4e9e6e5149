"""Server-sent events: tells each open page of a person what has changed.

Nothing is kept for a page that is not connected: a browser that comes back loads the album again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

MOST_PAGES = 20
"""Open pages of one person."""
_QUEUED = 200
"""Events that wait for one page. A slower one is disconnected, and loads the album again when it comes back."""
_HEARTBEAT_SECONDS = 15
_END = ""


class TooManyPages(Exception):
    """The person has too many pages open."""


class Feed:
    """Open pages by person."""

    def __init__(self) -> None:
        self._pages: dict[int, set[asyncio.Queue[str]]] = {}
        self._closed = False

    def publish(self, person: int, name: str, data: Any) -> None:
        """Send an event to all open pages of a person."""
        event = f"event: {name}\ndata: {json.dumps(data)}\n\n"
        for queue in self._pages.get(person, ()):
            if queue.qsize() < _QUEUED:
                queue.put_nowait(event)
            elif queue.qsize() == _QUEUED:
                queue.put_nowait(_END)

    def close(self) -> None:
        """End all streams, and those that begin later at once: a server that stops waits for them."""
        self._closed = True
        for queues in self._pages.values():
            for queue in queues:
                queue.put_nowait(_END)

    def check(self, person: int) -> None:
        """Raise TooManyPages where the person may open no other page."""
        if len(self._pages.get(person, ())) >= MOST_PAGES:
            raise TooManyPages

    async def events(self, person: int) -> AsyncIterator[str]:
        """The stream of one page, until it is closed."""
        with self._open_page(person) as queue:
            yield "retry: 1000\n\n"
            while not self._closed:
                try:
                    async with asyncio.timeout(_HEARTBEAT_SECONDS):
                        event = await queue.get()
                except TimeoutError:
                    event = ": still here\n\n"
                if event == _END:
                    return
                yield event

    @contextlib.contextmanager
    def _open_page(self, person: int) -> Iterator[asyncio.Queue[str]]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        pages = self._pages.setdefault(person, set())
        pages.add(queue)
        try:
            yield queue
        finally:
            pages.discard(queue)
            if not pages:
                del self._pages[person]
