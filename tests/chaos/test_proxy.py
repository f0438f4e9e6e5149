"""Connections that are cut in the middle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.proxy import Address, Cut, Proxy
from tests.stream_server import stream_server

REQUEST, ANSWER = b"question" * 100, b"answer" * 100
DEADLINE_SECONDS = 20.0


class Backend:
    """Answers each whole request, and keeps all bytes it received."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.cut_off = asyncio.Event()
        self.address: Address = ("", 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                self.received += chunk
                if self.received.endswith(REQUEST):
                    writer.write(ANSWER)
        except ConnectionResetError:
            self.cut_off.set()
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def backend() -> AsyncIterator[Backend]:
    made = Backend()
    async with stream_server(made.serve) as port:
        made.address = "127.0.0.1", port
        yield made


@contextlib.asynccontextmanager
async def proxy(*backends: Address, path: Path | None = None) -> AsyncIterator[tuple[Proxy, Address]]:
    made = Proxy("test", lambda: backends)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield made, await made.listen(path)
    finally:
        await made.aclose()


async def ask(address: Address) -> bytes:
    if isinstance(address, Path):
        reader, writer = await asyncio.open_unix_connection(address)
    else:
        reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(REQUEST)
        return await reader.readexactly(len(ANSWER))
    finally:
        writer.close()


async def refusing() -> Address:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    server.close()
    await server.wait_closed()
    return host, port


async def test_passes_requests_on_and_answers_back() -> None:
    async with backend() as far, proxy(far.address) as (_, address):
        assert await ask(address) == ANSWER
        assert bytes(far.received) == REQUEST


async def test_skips_backends_that_refuse() -> None:
    async with backend() as far, proxy(await refusing(), far.address) as (_, address):
        assert [await ask(address) for _ in range(3)] == [ANSWER] * 3


async def test_resets_when_there_is_no_backend() -> None:
    async with proxy() as (_, address):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await ask(address)


@pytest.mark.parametrize("share", [0.0, 0.5])
async def test_cuts_in_the_middle_of_a_request(share: float) -> None:
    async with backend() as far, proxy(far.address) as (between, address):
        cut = Cut("request", share)
        between.arm(cut)
        with pytest.raises(ConnectionResetError):
            await ask(address)
        assert cut.happened.is_set()
        await far.cut_off.wait()
        assert len(far.received) <= share * len(REQUEST)  # a reset may overtake what was sent before it
        assert await ask(address) == ANSWER, "only one connection is cut"
        assert between.cuts == 1


async def test_cuts_in_the_middle_of_an_answer() -> None:
    async with backend() as far, proxy(far.address) as (between, address):
        between.arm(Cut("answer", 0.0))
        with pytest.raises(ConnectionResetError):
            await ask(address)
        assert bytes(far.received) == REQUEST, "the request was received whole: only its answer is lost"


async def test_disarmed_it_cuts_nothing() -> None:
    async with backend() as far, proxy(far.address) as (between, address):
        between.arm(Cut("answer", 0.0))
        between.disarm()
        assert await ask(address) == ANSWER


async def test_listens_on_a_unix_socket(tmp_path: Path) -> None:
    async with backend() as far, proxy(far.address, path=tmp_path / "socket") as (between, address):
        assert await ask(address) == ANSWER
        between.arm(Cut("request", 0.5))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await ask(address)
