"""One connection of the service tunnel: many streams over one WebSocket.

Frames that are to be sent are put together: under load one WebSocket message carries those of many streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from workers.concurrency import first_of
from workers.tunnel import frames
from workers.tunnel.frames import (
    FIRST_WINDOW_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_STREAM,
    MAX_STREAMS,
    MAX_WINDOW_BYTES,
    WINDOWS_BYTES,
    Kind,
    Payload,
    ResetCode,
    TunnelViolation,
)
from workers.tunnel.stream import StreamEnded, TunnelStream

_FULL_BYTES = 256 << 10
"""That wait to be sent: bodies wait from here on."""
_STUCK_BYTES = 2 << 20
"""That wait to be sent: what the other side sends is not read from here on."""
_BATCH_BYTES = 256 << 10
_HURRIED = frozenset({Kind.REQUEST, Kind.UPGRADE})

Opened = Callable[[TunnelStream, Kind, bytes], None]
"""Takes a stream that the other side has opened, with the payload of its first frame."""


class LinkLost(Exception):
    """The connection is gone."""


class MessageWire(Protocol):
    """A WebSocket, whichever library it is of."""

    async def receive(self) -> bytes:
        """Return the next message. Raises LinkLost."""

    async def send(self, parts: Sequence[Payload]) -> None:
        """Send a message that consists of these parts, once the network takes it. Raises LinkLost."""


class TunnelLink:
    """One connection. Use on one event loop. Either side opens streams, or answers those that the other one opens."""

    def __init__(self, wire: MessageWire, opened: Opened | None = None) -> None:
        """``opened`` is called for each stream that the other side opens; None: it may open none."""
        self.lost: str = ""
        """Why there is no connection any more; empty while there is."""
        self.has_refused = False
        """Whether the other side has refused a request unseen: it may do so until its end."""
        self._wire = wire
        self._opened = opened
        self._streams: dict[int, TunnelStream] = {}
        self._large: set[int] = set()
        """Streams that carry much."""
        self._last = 0
        self._out: list[Payload] = []
        self._out_bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    async def run(self) -> NoReturn:
        """Send and receive until the connection is gone. Ends all its streams. Raises LinkLost, TunnelViolation."""
        why = "the connection was closed"
        try:
            await first_of(self._send(), self._receive())
            raise AssertionError("both go on for ever")
        except (LinkLost, TunnelViolation) as error:
            why = str(error)
            raise
        finally:
            self._lose(why)

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    @property
    def opened(self) -> int:
        """How many streams were opened so far."""
        return self._last

    @property
    def is_full(self) -> bool:
        """Whether no more streams can be opened."""
        return bool(self.lost) or len(self._streams) >= MAX_STREAMS or self._last >= MAX_STREAM

    @property
    def waiting_bytes(self) -> int:
        """That wait to be sent."""
        return self._out_bytes

    @property
    def is_busy(self) -> bool:
        """Whether a small request would wait behind large bodies."""
        return bool(self._large)

    def open(self) -> TunnelStream:
        """Open a stream; its first frame is to be sent before any other is opened. Raises LinkLost."""
        if self.is_full:
            raise LinkLost(self.lost or "the connection has too many streams")
        self._last += 1
        stream = self._streams[self._last] = TunnelStream(self._last, self)
        return stream

    # ── for streams ─────────────────────────────────────────────────────────────────────────────────────────

    def put(self, kind: Kind, stream: int, payload: Payload = b"") -> None:
        """Send a frame as soon as it is possible."""
        if self.lost:
            return
        size = len(payload)
        self._out.append(frames.frame_header(kind, stream, size))
        if size:
            self._out.append(payload)
        self._out_bytes += size + 9
        self._filled.set()
        if self._out_bytes >= _FULL_BYTES:
            self._emptied.clear()

    async def room(self) -> None:
        """Wait until the connection takes more."""
        while self._out_bytes >= _FULL_BYTES:
            await self._emptied.wait()

    def window_share(self) -> int:
        """Bytes that each stream's window may have now."""
        return max(FIRST_WINDOW_BYTES, min(MAX_WINDOW_BYTES, WINDOWS_BYTES // max(1, len(self._streams))))

    def closed(self, stream: TunnelStream) -> None:
        """Forget a stream."""
        self._streams.pop(stream.number, None)
        self._large.discard(stream.number)

    def grown(self, stream: TunnelStream) -> None:
        """Note that a stream carries much."""
        self._large.add(stream.number)

    # ── the WebSocket ───────────────────────────────────────────────────────────────────────────────────────

    async def _send(self) -> NoReturn:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._out:
                await self._wire.send(self._batch())

    def _batch(self) -> Sequence[Payload]:
        """Take frames for one message, all where they are not too many."""
        parts, size = self._out, self._out_bytes
        if size <= MAX_MESSAGE_BYTES:
            self._out, self._out_bytes = [], 0
        else:
            parts, size = self._some()
            self._out_bytes -= size
        if self._out_bytes < _FULL_BYTES:
            self._emptied.set()
        return parts

    def _some(self) -> tuple[list[Payload], int]:
        """Take whole frames up to the size of a batch, one at least."""
        taken, size, at = 0, 0, 0
        parts = self._out
        while at < len(parts) and size < _BATCH_BYTES:
            # A header says how long its payload is; the payload, if there is one, follows.
            has_payload = parts[at][5:9] != b"\0\0\0\0"
            size += len(parts[at]) + (len(parts[at + 1]) if has_payload else 0)
            at += 1 + has_payload
            taken = at
        self._out = parts[taken:]
        return parts[:taken], size

    async def _receive(self) -> NoReturn:
        while True:
            message = await self._wire.receive()
            if len(message) > MAX_MESSAGE_BYTES + _BATCH_BYTES:
                raise TunnelViolation("a message is too long")
            for kind, number, payload in frames.frames(message):
                self._take(kind, number, payload)
            while self._out_bytes >= _STUCK_BYTES:
                await self._emptied.wait()

    def _take(self, kind: Kind, number: int, payload: Payload) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream.received(kind, payload)
        elif kind in _HURRIED:
            self._open(kind, number, bytes(payload))
        elif number > self._last:
            raise TunnelViolation(f"stream {number} was not opened")
        # Else it was closed here, and the other side does not know it yet.

    def _open(self, kind: Kind, number: int, payload: bytes) -> None:
        if self._opened is None:
            raise TunnelViolation("the other side may open no streams")
        if number <= self._last:
            raise TunnelViolation("streams are opened in the order of their numbers")
        if len(self._streams) >= MAX_STREAMS:
            raise TunnelViolation(f"there are more than {MAX_STREAMS} streams")
        self._last = number
        stream = self._streams[number] = TunnelStream(number, self)
        self._opened(stream, kind, payload)

    def _lose(self, why: str) -> None:
        self.lost = why or "the connection was closed"
        self._out, self._out_bytes = [], 0
        self._emptied.set()
        for stream in [*self._streams.values()]:
            stream.fail(StreamEnded(ResetCode.LOST, self.lost))
