"""Reads a small HTTP body in chunks and stops at a limit, so that no peer can fill the memory.

For responses that fit into memory. Files are streamed to disk (`workers.transfer`).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable


class BodyTooLong(Exception):
    """The body has more bytes than the limit. The rest was not read: close the connection."""

    def __init__(self, beginning: bytes) -> None:
        super().__init__(f"the body is longer than {len(beginning)} bytes")
        self.beginning = beginning
        """As many bytes as the limit allows."""


async def read_bounded(chunks: AsyncIterable[bytes], limit_bytes: int) -> bytes:
    """The body that ``chunks`` add up to (``response.aiter_raw()``, say). Raises BodyTooLong."""
    body = _BoundedBody(limit_bytes)
    async for chunk in chunks:
        body.add(chunk)
    return body.content()


def read_bounded_sync(chunks: Iterable[bytes], limit_bytes: int) -> bytes:
    """The same for a synchronous client (``response.iter_raw()``, say). Raises BodyTooLong."""
    body = _BoundedBody(limit_bytes)
    for chunk in chunks:
        body.add(chunk)
    return body.content()


class _BoundedBody:
    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._content = bytearray()

    def add(self, chunk: bytes) -> None:
        self._content += chunk
        if len(self._content) > self._limit_bytes:
            raise BodyTooLong(bytes(self._content[: self._limit_bytes]))

    def content(self) -> bytes:
        return bytes(self._content)
