from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from workers.bounded_read import BodyTooLong, read_bounded, read_bounded_sync


class Chunks:
    """A body's chunks, and how many of them were read."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = iter(chunks)
        self.read = 0

    def __iter__(self) -> Chunks:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.read += 1
        return chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


@pytest.mark.parametrize("chunks", [(), (b"",), (b"abcd",), (b"ab", b"cd"), (b"a", b"", b"b")])
async def test_a_body_up_to_the_limit_is_read_whole(chunks: tuple[bytes, ...]) -> None:
    assert await read_bounded(Chunks(*chunks), 4) == b"".join(chunks)
    assert read_bounded_sync(Chunks(*chunks), 4) == b"".join(chunks)


@pytest.mark.parametrize("chunks", [(b"abcde",), (b"ab", b"cdef", b"ghi"), (b"abcd", b"e")])
async def test_one_byte_more_ends_the_reading(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(BodyTooLong, match="longer than 4 bytes") as raised:
        await read_bounded(Chunks(*chunks), 4)
    assert raised.value.beginning == b"abcd"
    with pytest.raises(BodyTooLong) as raised:
        read_bounded_sync(Chunks(*chunks), 4)
    assert raised.value.beginning == b"abcd"


async def test_nothing_is_read_past_the_limit() -> None:
    chunks = Chunks(b"abc", b"def", b"ghi")
    with pytest.raises(BodyTooLong):
        await read_bounded(chunks, 4)
    assert chunks.read == 2
