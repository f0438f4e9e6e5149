"""Server-sent events: tells apps of settled objects, resumably, thousands of listeners a replica (``GET /v1/events``).

The replica follows the log of settled objects once for all listeners. An event is encoded once, and finds its listeners
by the prefix that they listen to. A listener that comes back with ``Last-Event-ID`` gets what it missed from the log
first, and then goes on live: what is added meanwhile waits in its queue, and the log is read up to where that begins.

Source: "Server-sent events", HTML Living Standard, WHATWG.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from webhook.api.connections import Connection, connection_of
from webhook.api.http import HttpProblem, read_query
from webhook.api.readers import Readers
from webhook.ledger.settles import WINDOW, Settle, SettleLog
from webhook.pipelines import Pipelines

HEARTBEAT_SECONDS = 15.0
STREAM_SECONDS = 600.0
"""After which a stream ends, give or take a tenth, and the listener comes back: its token is looked at again."""
QUEUE_EVENTS = 1_000
"""Events that wait for a listener. One that is slower than that is dropped, and gets the rest when it comes back."""
_RETRY_MILLISECONDS = 1_000
_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would wait for more
    (b"x-content-type-options", b"nosniff"),
]
_MAX_POSITION = 2**63 - 1


class EventQuery(BaseModel):
    """Selects the events that a stream tells."""

    model_config = ConfigDict(extra="forbid")

    pipeline: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """None: every pipeline that the credential may read."""
    prefix: Annotated[str, Field(max_length=1024, pattern=r"^[^\x00]*$")] = ""
    """Of the keys."""
    ticket: Annotated[str, Field(max_length=200)] | None = None
    """In place of a header, which a browser's EventSource cannot set."""


class SettledEvent(msgspec.Struct, omit_defaults=True):
    """The data of one event: an object that was settled, by reference."""

    pipeline: str
    key: str
    state: str
    """``done``, ``parked`` or ``gone``."""
    settled_at: str
    changed: bool = True
    """False: the result is the one that was there before."""
    etag: str | None = None
    """Of the content that the result was made from."""
    reason: str | None = None
    """Why it is parked."""
    message: str | None = None


@dataclass(slots=True, eq=False)
class _Listener:
    """One stream: what it listens to, and what waits to be sent."""

    pipelines: frozenset[int]
    prefix: str
    connection: Connection | None
    waiting: deque[bytes] = field(default_factory=deque)
    begins_after: int = 0
    """Position after which events come by the queue."""
    ended: bool = False
    woken: asyncio.Future[None] | None = None

    def put(self, event: bytes) -> None:
        if len(self.waiting) >= QUEUE_EVENTS:
            self.drop()
        else:
            self.waiting.append(event)
            self.wake()

    def drop(self) -> None:
        """Close the connection: its coroutine may wait for room in it for ever."""
        if not self.ended and self.connection is not None:
            self.connection.abort()
        self.end()

    def end(self) -> None:
        """End the stream when everything that waits has been sent."""
        self.ended = True
        self.wake()

    def wake(self) -> None:
        if self.woken is not None and not self.woken.done():
            self.woken.set_result(None)


class _Places:
    """Listeners by pipeline and prefix, so that an event finds its own without looking at the others."""

    def __init__(self) -> None:
        self._by_length: dict[tuple[int, int], dict[str, set[_Listener]]] = {}

    def add(self, listener: _Listener) -> None:
        for pipeline_id in listener.pipelines:
            of_length = self._by_length.setdefault((pipeline_id, len(listener.prefix)), {})
            of_length.setdefault(listener.prefix, set()).add(listener)
        self._lengths = self._known_lengths()

    def remove(self, listener: _Listener) -> None:
        for pipeline_id in listener.pipelines:
            place = (pipeline_id, len(listener.prefix))
            of_prefix = self._by_length[place][listener.prefix]
            of_prefix.discard(listener)
            if not of_prefix:
                del self._by_length[place][listener.prefix]
            if not self._by_length[place]:
                del self._by_length[place]
        self._lengths = self._known_lengths()

    _lengths: Mapping[int, Sequence[int]] = {}

    def of(self, pipeline_id: int, key: str) -> Iterator[_Listener]:
        """The listeners to a key."""
        for length in self._lengths.get(pipeline_id, ()):
            yield from self._by_length[pipeline_id, length].get(key[:length], ())

    def _known_lengths(self) -> dict[int, list[int]]:
        lengths: dict[int, list[int]] = {}
        for pipeline_id, length in self._by_length:
            lengths.setdefault(pipeline_id, []).append(length)
        return lengths


class EventApi:
    """The endpoint for events. All its streams end when the replica leaves."""

    def __init__(self, log: SettleLog, pipelines: Pipelines, readers: Readers) -> None:
        self._log = log
        self._pipelines = pipelines
        self._readers = readers
        self._places = _Places()
        self._listeners: set[_Listener] = set()
        self._following = contextlib.ExitStack()
        self._leaving = False

    @property
    def listeners(self) -> int:
        """Streams that are open."""
        return len(self._listeners)

    async def events(self, request: Request) -> Response:
        """Tell of settled objects as server-sent events, from now on or after ``Last-Event-ID``."""
        query = read_query(request, EventQuery)
        reader = await self._readers.of(request, query.pipeline, query.ticket)
        after = _last_event_id(request)
        if self._leaving:
            raise HttpProblem(503, "leaving", "this replica is shutting down: connect again")
        return _EventStream(
            self, _Listener(frozenset(reader.pipelines), reader.narrowed(query.prefix), connection_of(request)), after
        )

    @property
    def position(self) -> int:
        """Up to here every event is in the queues of the listeners that it is for."""
        return self._log.position

    def close(self) -> None:
        """End all streams: their listeners come back to another replica."""
        self._leaving = True
        for listener in self._listeners:
            listener.end()

    @contextlib.asynccontextmanager
    async def joined(self, listener: _Listener) -> AsyncIterator[None]:
        """Put events into a listener's queue while the context lasts. Raises LedgerUnavailable."""
        if not self._listeners:
            self._following.enter_context(self._log.following(self._deliver))
        self._listeners.add(listener)
        try:
            listener.begins_after = await self._log.followed()
            # Nothing comes between these: what the log tells next comes after this position, and into the queue.
            self._places.add(listener)
            try:
                yield
            finally:
                self._places.remove(listener)
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._following.close()

    async def missed(self, listener: _Listener, after: int) -> AsyncIterator[bytes]:
        """Events after a position, up to where the listener's queue begins."""
        end = await self._log.end()
        if after < end.pruned or after > end.last:
            yield _gap(listener.begins_after)
            return
        while after < listener.begins_after:
            up_to = min(listener.begins_after, after + WINDOW)
            for settle in await self._log.between(after, up_to, list(listener.pipelines), listener.prefix):
                yield self._encoded(settle)
            after = up_to

    def _deliver(self, settles: Sequence[Settle]) -> None:
        for settle in settles:
            encoded = b""
            for listener in self._places.of(settle.pipeline_id, settle.key):
                encoded = encoded or self._encoded(settle)
                listener.put(encoded)

    def _encoded(self, settle: Settle) -> bytes:
        event = SettledEvent(
            self._pipelines.name_of(settle.pipeline_id), settle.key, settle.state, settle.settled_at.isoformat(),
            changed=settle.changed, etag=settle.etag, reason=settle.reason, message=settle.message,
        )  # fmt: skip
        return b"id: %d\nevent: settled\ndata: %s\n\n" % (settle.position, msgspec.json.encode(event))


class _EventStream(Response):
    """Sends one listener its events. One coroutine, since there are thousands of them."""

    def __init__(self, api: EventApi, listener: _Listener, after: int | None) -> None:
        self._api = api
        self._listener = listener
        self._after = after
        self._ends_at = asyncio.get_running_loop().time() + STREAM_SECONDS * random.uniform(0.9, 1.1)  # noqa: S311

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the listener is gone, too slow, or has been there for long."""
        listener = self._listener
        async with self._api.joined(listener):
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await _body(send, b"retry: %d\n\n" % _RETRY_MILLISECONDS)
            if self._after is None:
                await _body(send, b"id: %d\n\n" % listener.begins_after)
            else:
                async for event in self._api.missed(listener, self._after):
                    await _body(send, event)
            gone = asyncio.ensure_future(_gone(receive))
            gone.add_done_callback(lambda _: listener.wake())
            try:
                await self._live(send, gone)
            finally:
                gone.cancel()

    async def _live(self, send: Send, gone: asyncio.Future[None]) -> None:
        listener, loop = self._listener, asyncio.get_running_loop()
        while not gone.done():
            while listener.waiting:
                await _body(send, listener.waiting.popleft())
            if listener.ended or loop.time() > self._ends_at:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            listener.woken = loop.create_future()
            timer = loop.call_later(HEARTBEAT_SECONDS, listener.wake)
            await listener.woken
            timer.cancel()
            if not listener.waiting:
                # With the id a listener that seldom gets an event comes back after a late position.
                await _body(send, b"id: %d\n\n" % self._api.position)


async def _body(send: Send, content: bytes) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": True})


async def _gone(receive: Receive) -> None:
    """Wait until the listener has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _gap(position: int) -> bytes:
    """Tells a listener that what it missed is not known any more: it has to list the objects again."""
    return b"id: %d\nevent: gap\ndata: {}\n\n" % position


def _last_event_id(request: Request) -> int | None:
    text = request.headers.get("last-event-id", "")
    if not text:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _MAX_POSITION:
        return int(text)
    raise HttpProblem(422, "malformed", "Last-Event-ID is no id of an event: leave it out to begin with the next one")
