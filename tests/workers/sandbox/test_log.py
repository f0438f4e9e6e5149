"""The end of what a child prints."""

from __future__ import annotations

import asyncio

from tests.workers.sandbox.jobs import JobFolder, failure, limits, sandbox
from workers import protocol
from workers.sandbox.log import MAX_CHARACTERS, ChildLog, printable


async def test_the_log_waits_for_what_is_still_in_the_pipe() -> None:
    stream = asyncio.StreamReader()
    log = ChildLog(stream)
    stream.feed_data(b"early ")
    reading = asyncio.create_task(log.read_until(b"END"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not reading.done()
    stream.feed_data(b"late END the next job's")
    assert await reading == "early late "
    await log.aclose()


async def test_a_stream_that_ends_ends_the_waiting() -> None:
    stream = asyncio.StreamReader()
    log = ChildLog(stream)
    stream.feed_data(b"cut off")
    reading = asyncio.create_task(log.read_until(b"END"))
    stream.feed_eof()
    for _ in range(20):  # far fewer passes of the loop than the time limit takes
        await asyncio.sleep(0)
    assert reading.done()
    assert await reading == "cut off"
    log.clear()
    assert await log.read_until(b"END") == ""
    await log.aclose()


async def test_the_log_keeps_its_end(folder: JobFolder) -> None:
    noisy = protocol.Handler(
        kind="command",
        options={"argv": ["sh", "-c", "seq 1 200000; echo the end; exit 1", "{input}"]},
        limits=limits(),
    )
    async with sandbox() as pool:
        error = await failure(pool, noisy, folder.job())
    assert len(error.log) == MAX_CHARACTERS
    assert "200000\nthe end\n" in error.log


def test_control_characters_and_lone_surrogates_are_replaced() -> None:
    assert printable("a\0b\x1b\ud800\n\tü", 100) == "a\ufffdb\ufffd\ufffd\n\tü"
    assert printable("abc", 2) == "bc"
