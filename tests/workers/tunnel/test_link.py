from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.polling import until
from tests.workers.tunnel.wires import MemoryWire, linked, wire_pair
from workers.tunnel import frames
from workers.tunnel.frames import FIRST_WINDOW_BYTES, MAX_WINDOW_BYTES, Kind, ResetCode, TunnelViolation
from workers.tunnel.heads import RequestHead
from workers.tunnel.link import LinkLost, TunnelLink
from workers.tunnel.stream import StreamEnded, TunnelStream

HEAD = RequestHead("POST", b"/", [], None).encoded()
ANSWER = b"200"


class EchoingStreams:
    """Answers each stream with what it sends."""

    def __init__(self) -> None:
        self.streams: list[TunnelStream] = []
        self.tasks: list[asyncio.Task[None]] = []

    def opened(self, stream: TunnelStream, _kind: Kind, _payload: bytes) -> None:
        self.streams.append(stream)
        self.tasks.append(asyncio.create_task(self._answer(stream)))

    async def _answer(self, stream: TunnelStream) -> None:
        stream.send(Kind.ANSWER, ANSWER)
        while (item := await stream.next())[0] is Kind.DATA:
            await stream.send_data(item[1])
        stream.send(Kind.END)
        stream.close()


async def body_of(stream: TunnelStream) -> bytes:
    body = b""
    while (item := await stream.next())[0] is not Kind.END:
        if item[0] is Kind.DATA:
            body += item[1]
    return body


async def exchanged(link: TunnelLink, chunks: list[bytes]) -> bytes:
    stream = link.open()
    stream.send(Kind.REQUEST, HEAD)

    async def send() -> None:
        for chunk in chunks:
            await stream.send_data(chunk)
        stream.send(Kind.END)

    sending = asyncio.create_task(send())
    body = await body_of(stream)
    await sending
    stream.close()
    return body


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 400_000), max_size=5), min_size=1, max_size=8))
def test_streams_are_not_mixed_whatever_their_lengths(sizes: list[list[int]]) -> None:
    async def check() -> None:
        echo = EchoingStreams()
        async with linked(echo.opened) as (plane, worker, _):
            bodies = [[bytes([65 + n]) * size for size in each if size] for n, each in enumerate(sizes)]
            got = await asyncio.gather(*(exchanged(plane, chunks) for chunks in bodies))
            assert got == [b"".join(chunks) for chunks in bodies]
            assert plane.streams == 0
            await until(lambda: worker.streams == 0, failure="the worker keeps streams")

    asyncio.run(check())


async def test_a_sender_waits_for_a_reader_and_small_requests_pass_it() -> None:
    streams: list[TunnelStream] = []
    echo = EchoingStreams()

    def opened(stream: TunnelStream, kind: Kind, payload: bytes) -> None:
        if not streams:
            streams.append(stream)  # and read nothing
        else:
            echo.opened(stream, kind, payload)

    async with linked(opened) as (plane, _, _wire):
        stream = plane.open()
        stream.send(Kind.REQUEST, HEAD)
        sending = asyncio.create_task(stream.send_data(bytes(8 * FIRST_WINDOW_BYTES)))
        assert await exchanged(plane, [b"small"]) == b"small"
        assert not sending.done()
        assert stream.sent_bytes < FIRST_WINDOW_BYTES
        received = 0
        while received < 8 * FIRST_WINDOW_BYTES:
            received += len((await streams[0].next())[1])
        await sending
        assert plane.is_busy
        stream.close()
        assert not plane.is_busy


async def test_a_reset_ends_the_other_side_and_is_not_answered() -> None:
    echo = EchoingStreams()
    async with linked(echo.opened) as (plane, worker, _):
        stream = plane.open()
        stream.send(Kind.REQUEST, HEAD)
        assert (await stream.next())[0] is Kind.ANSWER
        cancelled: list[bool] = []
        echo.streams[0].given_up = lambda: cancelled.append(True)
        stream.close(ResetCode.CANCELLED, "gone")
        await until(lambda: bool(cancelled), failure="not told")
        with pytest.raises(StreamEnded, match="gone"):
            await echo.tasks[0]
        echo.streams[0].close()
        assert (plane.streams, worker.streams) == (0, 0)
        assert await exchanged(plane, [b"next"]) == b"next"


async def test_an_answer_that_is_whole_is_read_although_the_worker_takes_no_more_of_the_request() -> None:
    def opened(stream: TunnelStream, _kind: Kind, _payload: bytes) -> None:
        stream.send(Kind.ANSWER, b"413")
        stream.send(Kind.END)
        stream.close()

    async with linked(opened) as (plane, _, _wire):
        stream = plane.open()
        stream.send(Kind.REQUEST, HEAD)
        with pytest.raises(StreamEnded):
            await stream.send_data(bytes(8 * FIRST_WINDOW_BYTES))
        assert [(await stream.next())[0] for _ in range(2)] == [Kind.ANSWER, Kind.END]


async def test_a_broken_connection_ends_every_stream() -> None:
    echo = EchoingStreams()
    async with linked(echo.opened) as (plane, worker, wire):
        streams = [plane.open() for _ in range(3)]
        for stream in streams:
            stream.send(Kind.REQUEST, HEAD)
            assert (await stream.next())[0] is Kind.ANSWER
        wire.cut()
        for stream in streams:
            with pytest.raises(StreamEnded):
                await stream.next()
        for task in echo.tasks:
            with pytest.raises(StreamEnded):
                await task
        assert plane.lost
        assert worker.lost
        with pytest.raises(LinkLost):
            plane.open()


# ── what the other side may not do ───────────────────────────────────────────────────────────────────────────────────

FRAMES = st.lists(
    st.tuples(
        st.sampled_from([kind for kind in Kind if kind not in (Kind.REQUEST, Kind.UPGRADE)]),
        st.integers(1, 4),
        st.one_of(st.just(b""), st.binary(max_size=8), st.just(bytes(60_000))),
    ),
    max_size=40,
)


def encoded(kind: Kind, stream: int, payload: bytes) -> bytes:
    return frames.frame_header(kind, stream, len(payload)) + payload


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FRAMES)
def test_no_sequence_of_frames_crashes_the_other_side_or_fills_its_memory(
    sequence: list[tuple[Kind, int, bytes]],
) -> None:
    async def check() -> None:
        near, far = wire_pair()
        plane = TunnelLink(near)
        running = asyncio.create_task(plane.run())
        streams = [plane.open() for _ in range(3)]
        for stream in streams:
            stream.send(Kind.REQUEST, HEAD)
        for kind, number, payload in sequence:
            if running.done():
                break
            kind_limit = frames.MAX_DATA_BYTES if kind in frames.WINDOWED else 4
            put = asyncio.create_task(far.send([encoded(kind, number, payload[:kind_limit] if kind_limit else b"")]))
            await asyncio.wait([put, running], return_when=asyncio.FIRST_COMPLETED)
            put.cancel()
            assert sum(stream.buffered_bytes for stream in streams) <= 3 * FIRST_WINDOW_BYTES
        far.cut()
        with pytest.raises((LinkLost, TunnelViolation)):
            await running

    asyncio.run(check())


async def violated(send: Callable[[TunnelLink, MemoryWire], Coroutine[None, None, None]]) -> str:
    """What a plane's link says of what a worker sends."""
    near, far = wire_pair()
    plane = TunnelLink(near)
    running = asyncio.create_task(plane.run())
    plane.open().send(Kind.REQUEST, HEAD)
    await far.receive()
    sending = asyncio.create_task(send(plane, far))
    with pytest.raises(TunnelViolation) as caught:
        await asyncio.wait_for(running, 20)
    sending.cancel()
    return str(caught.value)


async def test_more_than_was_granted_is_a_violation_and_so_are_endless_empty_frames() -> None:
    async def flood(_: TunnelLink, wire: MemoryWire) -> None:
        while True:
            await wire.send([encoded(Kind.DATA, 1, b"") * 100])

    async def much(_: TunnelLink, wire: MemoryWire) -> None:
        while True:
            await wire.send([encoded(Kind.DATA, 1, bytes(100_000))])

    assert "granted" in await violated(flood)
    assert "granted" in await violated(much)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (encoded(Kind.ANSWER, 2, b"200"), "not opened"),
        (encoded(Kind.REQUEST, 2, HEAD), "may open no streams"),
        (encoded(Kind.END, 1, b"") + encoded(Kind.DATA, 1, b"x"), "after its end"),
        (encoded(Kind.ANSWER, 1, b"200") * 2, "two answers"),
        (encoded(Kind.WINDOW, 1, b"\xff\xff\xff\xff"), "too large"),
        (encoded(Kind.WINDOW, 1, b"1"), "no number"),
        (b"nonsense!!", "no kind"),
    ],
)
async def test_each_of_these_is_a_violation(frame: bytes, says: str) -> None:
    assert says in await violated(lambda _, wire: wire.send([frame]))


async def test_a_message_of_a_websocket_has_a_limit() -> None:
    near, far = wire_pair()
    plane = TunnelLink(near)
    running = asyncio.create_task(plane.run())
    stream = plane.open()
    stream.send(Kind.UPGRADE, HEAD)
    part = encoded(Kind.PART, 1, bytes(100_000))

    async def read() -> None:
        while True:
            await stream.next()

    async def send() -> None:
        granted, sent = FIRST_WINDOW_BYTES, 0
        while True:
            while granted - sent > 200_000:
                await far.send([part])
                sent += len(part) + frames.FRAME_COST
            for kind, _, payload in frames.frames(await far.receive()):
                granted += frames.window_bytes(payload) if kind is Kind.WINDOW else 0

    tasks = [asyncio.create_task(each()) for each in (read, send)]
    with pytest.raises(TunnelViolation, match="a message exceeds"):
        await asyncio.wait_for(running, 20)
    for task in tasks:
        task.cancel()


async def test_a_peer_that_does_not_read_is_not_read_from() -> None:
    """Streams that are refused at once are answered with a RESET each."""

    def refuse(stream: TunnelStream, _kind: Kind, _payload: bytes) -> None:
        stream.close(ResetCode.UNSENT, "x" * 4_000)

    near, far = wire_pair()
    worker = TunnelLink(far, refuse)
    running = asyncio.create_task(worker.run())
    for number in range(1, 2_000):
        put = asyncio.create_task(near.send([encoded(Kind.REQUEST, number, HEAD)]))
        done, _ = await asyncio.wait([put], timeout=0.5)
        if not done:
            put.cancel()
            break
    else:
        pytest.fail("all was read")
    assert worker.waiting_bytes < MAX_WINDOW_BYTES
    running.cancel()
