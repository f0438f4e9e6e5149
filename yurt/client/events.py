"""Listens to events, and reconnects so that none is lost or told twice. The protocol, without a way to block.

Source: "Server-sent events", HTML Living Standard, WHATWG. Of its line ends, those that control planes and proxies use.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator
from dataclasses import dataclass

from yurt.client.answers import Event, EventGap, ObjectSettled
from yurt.decoding import DecodingError, decode
from yurt.errors import NotReachable
from yurt.http_api import PLANE, HttpApi, away, may_come_later, refusal, retry_after
from yurt.transport import AnswerTooLong, Disconnected, HttpRequest, StreamedAnswer, read_whole

SILENCE_SECONDS = 45.0
"""After which a stream is taken for dead. A control plane says every 15 s that it lives."""
_MAX_BLOCK_BYTES = 256 << 10
_MOST_ID_DIGITS = 19


@dataclass(frozen=True, slots=True)
class StreamBlock:
    """What stands between two blank lines of a stream."""

    id: int | None
    event: str
    data: str | None
    """None: it carries no more than an id."""


class StreamBlocks:
    """Splits a stream of bytes into blocks. A block that was cut off is never one."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[str] = []

    def add(self, chunk: bytes) -> Iterator[StreamBlock]:
        """Return the blocks that end in this chunk. Raises `AnswerTooLong`."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if text := line.removesuffix(b"\r").decode("utf-8", "replace"):
                self._lines.append(text)
            else:
                yield _block(self._lines)
                self._lines = []
        if len(self._rest) + sum(map(len, self._lines)) > _MAX_BLOCK_BYTES:
            raise AnswerTooLong


def _block(lines: list[str]) -> StreamBlock:
    id, event, data = None, "message", []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id" and value.isascii() and value.isdigit() and len(value) <= _MOST_ID_DIGITS:
            id = int(value)
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)
    return StreamBlock(id, event, "\n".join(data) if data else None)


class EventStream:
    """A stream of events that outlives its connections."""

    def __init__(self, api: HttpApi, pipelines: Collection[str], prefix: str, last_event_id: int | None) -> None:
        if isinstance(pipelines, str):
            raise TypeError(f"pipelines is one text: write pipelines=[{pipelines!r}]")
        self._api = api
        self._pipelines = frozenset(pipelines)
        self._prefix = prefix
        self._position = last_event_id
        """All events up to here were told."""

    async def events(self) -> AsyncGenerator[Event, None]:
        """Tell events for as long as the caller wants them."""
        pauses = self._api.pauses()
        while True:
            lost = Disconnected("the stream has ended")
            try:
                async with self._api.transport.stream(self._request()) as answer:
                    await _check(answer)
                    async for block in _blocks(answer):
                        pauses.begin()
                        for event in self._events_of(block):
                            yield event
            except Disconnected as error:
                lost = error
            except AnswerTooLong:
                raise NotReachable("The stream is none of a control plane's: look at the URL.") from None
            pause = pauses.next(lost.retry_after_seconds)
            if pause is None:
                raise away(PLANE, lost) from None
            await self._api.transport.pause(pause)

    def _request(self) -> HttpRequest:
        query = {"prefix": self._prefix} if self._prefix else {}
        if len(self._pipelines) == 1:
            query["pipeline"] = next(iter(self._pipelines))
        headers = {} if self._position is None else {"last-event-id": str(self._position)}
        return self._api.request("GET", "/v1/events", query=query, headers=headers, read_seconds=SILENCE_SECONDS)

    def _events_of(self, block: StreamBlock) -> Iterator[Event]:
        """The event of a block, if it is one that is wanted."""
        if block.id is not None:
            self._position = block.id
        if block.data is None or self._position is None:
            return
        if block.event == "gap":
            yield EventGap(self._position)
        elif block.event == "settled":
            event = _settled(self._position, block.data)
            if not self._pipelines or event.pipeline in self._pipelines:
                yield event


async def _blocks(answer: StreamedAnswer) -> AsyncIterator[StreamBlock]:
    blocks = StreamBlocks()
    async for chunk in answer.chunks:
        for block in blocks.add(chunk):
            yield block


async def _check(answer: StreamedAnswer) -> None:
    """Raise `Disconnected` for an answer that is no stream yet, and `yurt.Refused` for one that stays the same."""
    if answer.ok:
        return
    whole = await read_whole(answer)
    if may_come_later(whole.status):
        raise Disconnected(f"status {whole.status}", retry_after(whole.headers))
    raise refusal(whole)


def _settled(id: int, data: str) -> ObjectSettled:
    try:
        content = json.loads(data)
        return decode(ObjectSettled, {**content, "id": id} if isinstance(content, dict) else content)
    except (DecodingError, ValueError, RecursionError):
        raise NotReachable(
            f"Event {id} cannot be understood: install the control plane's version of yurt, and go on with "
            f"last_event_id={id}."
        ) from None
