"""Keeps the end of what a child prints."""

from __future__ import annotations

import asyncio

MAX_CHARACTERS = 16_000
_MAX_BYTES = 4 * MAX_CHARACTERS
_WAIT_SECONDS = 1.0


class ChildLog:
    """Reads a child's error stream for as long as it is open, so that the child never blocks on a full pipe."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._tail = bytearray()
        self._changed = asyncio.Event()
        self._reader = asyncio.create_task(self._read(stream))

    def clear(self) -> None:
        """Forget what earlier jobs printed."""
        self._tail.clear()

    async def read_until(self, mark: bytes) -> str:
        """Return the last ``MAX_CHARACTERS`` printed before ``mark``, or before the stream ended.

        Waits for ``mark`` for a second at most.
        """
        try:
            # A process that outlives the child may hold the stream open, and then neither mark nor end comes.
            async with asyncio.timeout(_WAIT_SECONDS):
                while mark not in self._tail and not self._reader.done():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return printable(self._tail.partition(mark)[0].decode(errors="replace"), MAX_CHARACTERS)

    async def aclose(self) -> None:
        """Stop reading."""
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def _read(self, stream: asyncio.StreamReader) -> None:
        try:
            while chunk := await stream.read(65_536):
                self._tail += chunk
                del self._tail[:-_MAX_BYTES]
                self._changed.set()
        finally:
            self._changed.set()


def printable(text: str, max_characters: int) -> str:
    """Return the end of ``text`` without control characters and lone surrogates, which no database takes."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text[-max_characters:]
    )
