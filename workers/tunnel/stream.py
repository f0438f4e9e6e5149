"""One request and its answer on a connection of the service tunnel, with back pressure in both directions.

What comes is kept until it is asked for. The other side may send as much as it was granted: the first window, and what
is granted as it is read. The window grows with what is read, up to a share of what all streams have together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from workers.tunnel import frames
from workers.tunnel.frames import (
    FIRST_WINDOW_BYTES,
    FRAME_COST,
    MAX_DATA_BYTES,
    Kind,
    Payload,
    ResetCode,
    TunnelViolation,
)

MAX_SOCKET_MESSAGE_BYTES = 16 << 20
"""Of one message of a WebSocket that goes through the tunnel."""
_PARTS_BYTES = 1 << 20
"""What the frames of one message may cost beside its bytes: so it consists of some 16,000 parts at most."""
_LEAST_GRANT = 32 << 10
_MUCH_BYTES = 256 << 10
"""Of one stream, after which small requests had better use another connection."""


class StreamEnded(Exception):
    """The stream brings no more: the other side has given it up, or the connection is gone."""

    def __init__(self, code: ResetCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class FrameSender(Protocol):
    """The connection, as its streams see it."""

    def put(self, kind: Kind, stream: int, payload: Payload = b"") -> None:
        """Send a frame as soon as it is possible."""

    async def room(self) -> None:
        """Wait until the connection takes more."""

    def window_share(self) -> int:
        """Bytes that each stream's window may have now."""

    def grown(self, stream: TunnelStream) -> None:
        """Note that a stream carries much."""

    def closed(self, stream: TunnelStream) -> None:
        """Forget a stream."""


class TunnelStream:
    """One stream. Use on one event loop."""

    def __init__(self, number: int, sender: FrameSender) -> None:
        self.number = number
        self.sent_end = False
        """Whether this side has sent all that it has to send."""
        self.sent_bytes = 0
        """Of bodies and messages."""
        self.given_up: Callable[[], object] | None = None
        """Is called when the stream ends early."""
        self._sender = sender
        self._items: deque[tuple[Kind, Payload]] = deque()
        self._ended: BaseException | None = None
        self._answered = False
        self._complete = False
        self._closed = False
        self._arrived: asyncio.Future[None] | None = None
        self._granted: asyncio.Future[None] | None = None
        self._credit = FIRST_WINDOW_BYTES
        self._peer_credit = FIRST_WINDOW_BYTES
        self._buffered = 0
        self._message_bytes = 0
        self._moved = 0

    @property
    def buffered_bytes(self) -> int:
        """That have come, and were not asked for yet."""
        return self._buffered

    # ── what comes ──────────────────────────────────────────────────────────────────────────────────────────

    def received(self, kind: Kind, payload: Payload) -> None:
        """Take a frame of this stream. Raises TunnelViolation."""
        if kind is Kind.WINDOW:
            self._take_credit(frames.window_bytes(payload))
            return
        if kind is Kind.RESET:
            code, reason = frames.code_and_reason(payload)
            self.fail(StreamEnded(_reset_code(code), reason))
            return
        if self._complete:
            raise TunnelViolation("a stream goes on after its end")
        if kind in frames.WINDOWED:
            self._count(kind, payload)
        elif kind in (Kind.END, Kind.CLOSE):
            self._complete = True
        elif kind is not Kind.ANSWER:
            raise TunnelViolation(f"a {kind.name} came in the midst of a stream")
        elif self._answered:
            raise TunnelViolation("a stream has two answers")
        else:
            self._answered = True
        if self._ended is None and not self._closed:
            self._items.append((kind, payload))
            _wake(self._arrived)

    async def next(self) -> tuple[Kind, Payload]:
        """Return the next frame. Raises StreamEnded, or whatever the stream was made to fail with."""
        while not self._items:
            if self._ended is not None:
                raise self._ended
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        kind, payload = self._items.popleft()
        if kind in frames.WINDOWED:
            self._buffered -= len(payload) + FRAME_COST
            self._grant()
        return kind, payload

    def fail(self, error: BaseException) -> None:
        """End the stream for its reader and its sender: the first error counts. What came whole can still be read."""
        if self._ended is None:
            self._ended = error
            if not self._complete:
                self._items.clear()
            _wake(self._arrived)
            _wake(self._granted)
            if self.given_up is not None:
                self.given_up()

    def _count(self, kind: Kind, payload: Payload) -> None:
        cost = len(payload) + FRAME_COST
        if cost > self._peer_credit:
            raise TunnelViolation("more was sent than was granted")
        self._peer_credit -= cost
        self._buffered += cost
        self._move(cost)
        if kind is not Kind.DATA:
            self._message_bytes += cost
            if self._message_bytes > MAX_SOCKET_MESSAGE_BYTES + _PARTS_BYTES:
                raise TunnelViolation(f"a message exceeds {MAX_SOCKET_MESSAGE_BYTES} bytes")
            if kind is not Kind.PART:
                self._message_bytes = 0

    def _grant(self) -> None:
        if self._complete or self._ended is not None:
            return
        more = self._sender.window_share() - self._peer_credit - self._buffered
        if more >= _LEAST_GRANT:
            self._peer_credit += more
            self._sender.put(Kind.WINDOW, self.number, frames.window(more))

    # ── what goes ───────────────────────────────────────────────────────────────────────────────────────────

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Send a frame that needs no window."""
        self._sender.put(kind, self.number, payload)
        self.sent_end |= kind in (Kind.END, Kind.CLOSE, Kind.RESET)

    async def send_data(self, data: Payload, kind: Kind = Kind.DATA) -> None:
        """Send bytes of a body, or a message, as the window and the connection allow. Raises StreamEnded."""
        begun, rest = False, memoryview(data)
        while rest or not begun:
            begun = True
            if self._ended is not None:
                raise self._ended
            await self._sender.room()
            size = min(len(rest), MAX_DATA_BYTES, await self._window())
            part, rest = rest[:size], rest[size:]
            self._credit -= size + FRAME_COST
            self.sent_bytes += size
            self._move(size)
            self._sender.put(Kind.PART if rest and kind is not Kind.DATA else kind, self.number, part)

    async def _window(self) -> int:
        """Wait until some may be sent; return how many bytes. Raises StreamEnded."""
        while self._credit <= FRAME_COST:
            if self._ended is not None:
                raise self._ended
            self._granted = asyncio.get_running_loop().create_future()
            await self._granted
        return self._credit - FRAME_COST

    def _take_credit(self, size: int) -> None:
        self._credit += size
        if self._credit > 2**31:
            raise TunnelViolation("a window is too large")
        _wake(self._granted)

    def _move(self, size: int) -> None:
        before, self._moved = self._moved, self._moved + size
        if before < _MUCH_BYTES <= self._moved:
            self._sender.grown(self)

    # ── its end ─────────────────────────────────────────────────────────────────────────────────────────────

    def close(self, code: ResetCode = ResetCode.CANCELLED, reason: str = "") -> None:
        """Forget the stream; give it up at the other side where it is not over in both directions."""
        if self._closed:
            return
        self._closed = True
        if not (self.sent_end and self._complete) and not isinstance(self._ended, StreamEnded):
            self._sender.put(Kind.RESET, self.number, frames.coded(code, reason))
        self._items.clear()
        self._sender.closed(self)


def _reset_code(code: int) -> ResetCode:
    return ResetCode(code) if code in ResetCode._value2member_map_ else ResetCode.LOST


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
