"""What a child prints, of which only the end is kept."""

from __future__ import annotations

import asyncio

MAX_CHARACTERS = 16_000
_MAX_BYTES = 4 * MAX_CHARACTERS
_WAIT_SECONDS = 1.0


class Log:
    """Reads a child's error stream for as long as it is open."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._tail = bytearray()
        self._news = asyncio.Event()
        self._pump = asyncio.create_task(self._read(stream))

    def clear(self) -> None:
        """A new job starts."""
        self._tail.clear()

    async def until(self, end: bytes) -> str:
        """Return the end of what was printed before ``end``, or before the stream ended."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS):  # something that outlived the child may hold the stream open
                while end not in self._tail and not self._pump.done():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        return printable(self._tail.partition(end)[0].decode(errors="replace"), MAX_CHARACTERS)

    async def aclose(self) -> None:
        """Stop reading."""
        self._pump.cancel()
        await asyncio.wait([self._pump])

    async def _read(self, stream: asyncio.StreamReader) -> None:
        try:
            while chunk := await stream.read(65_536):
                self._tail += chunk
                del self._tail[:-_MAX_BYTES]
                self._news.set()
        finally:
            self._news.set()


def printable(text: str, max_characters: int) -> str:
    """Return the end of ``text`` without control characters and lone surrogates, which no database takes."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text[-max_characters:]
    )
