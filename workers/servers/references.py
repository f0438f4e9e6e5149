"""Serves the inputs of jobs, and takes their outputs, by URLs that a server on this machine can use.

The input is the file that was fetched: the very content that the lease's conditions are about. A presigned URL of the
bucket could give another one a moment later. Each job has a URL of its own that is drawn at random.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import h11

from workers.concurrency import end
from workers.protocol import MAX_OUTPUTS

HOST = "127.0.0.1"
_SECRET = r"[A-Za-z0-9_-]{32}"  # noqa: S105 - a pattern
_INPUT = re.compile(rf"/({_SECRET})/input")
_OUTPUT = re.compile(rf"/({_SECRET})/output/([A-Za-z0-9][A-Za-z0-9._-]{{0,199}})")
_RANGE = re.compile(r"bytes=(\d{1,19})-(\d{1,19})?")
_CHUNK_BYTES = 1 << 20
_IDLE_SECONDS = 60.0
"""Without a byte of a request, or one that is taken of an answer."""
_LINGER_SECONDS = 2.0
_CONNECTIONS = 256


class _Refused(Exception):
    """A request is answered with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class ReferencedJob:
    """The files of one job."""

    input: Path
    output: Path
    output_bytes: int
    """Most that all outputs may have together."""
    written: dict[str, int] = field(default_factory=dict)
    """Sizes by name."""

    def room(self, name: str) -> int:
        """Bytes that an output of this name may have."""
        if name not in self.written and len(self.written) >= MAX_OUTPUTS:
            raise _Refused(413)
        return self.output_bytes - sum(size for other, size in self.written.items() if other != name)


class References:
    """A server on loopback. Use on one event loop; an async context manager."""

    def __init__(self) -> None:
        self._jobs: dict[str, ReferencedJob] = {}
        self._server: asyncio.Server | None = None
        self._open = asyncio.Semaphore(_CONNECTIONS)
        self._connections: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[References]:
        """Listen for the length of the ``with`` block."""
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        try:
            yield self
        finally:
            self._server.close()
            await end(self._connections)

    @contextlib.contextmanager
    def offered(self, input: Path, output: Path, output_bytes: int) -> Iterator[str]:
        """Offer a job's files for the length of the ``with`` block; its URL, with a slash at its end."""
        assert self._server is not None, "it serves"
        port = self._server.sockets[0].getsockname()[1]
        secret = secrets.token_urlsafe(24)
        self._jobs[secret] = ReferencedJob(input, output, output_bytes)
        try:
            yield f"http://{HOST}:{port}/{secret}/"
        finally:
            del self._jobs[secret]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._open:
            exchange = _HttpExchange(reader, writer)
            with contextlib.closing(writer), contextlib.suppress(h11.ProtocolError, OSError, TimeoutError):
                while await self._answered(exchange):
                    exchange.next()
                await exchange.linger()

    async def _answered(self, exchange: _HttpExchange) -> bool:
        """Answer one request; return whether the connection goes on."""
        request = await exchange.request()
        if request is None:
            return False
        method, path = request.method.decode("ascii"), request.target.decode("ascii").partition("?")[0]
        try:
            if (found := _INPUT.fullmatch(path)) and method in ("GET", "HEAD"):
                await self._give(exchange, self._job(found[1]), request, with_body=method == "GET")
            elif (found := _OUTPUT.fullmatch(path)) and method in ("PUT", "POST"):
                await self._take(exchange, self._job(found[1]), found[2])
            else:
                raise _Refused(404)
        except _Refused as refused:
            await exchange.answer(refused.status, {"Content-Length": "0", "Connection": "close"})
            return False
        return exchange.goes_on

    def _job(self, secret: str) -> ReferencedJob:
        if (job := self._jobs.get(secret)) is None:
            raise _Refused(404)
        return job

    async def _give(
        self, exchange: _HttpExchange, job: ReferencedJob, request: h11.Request, *, with_body: bool
    ) -> None:
        with job.input.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            first, last, status = _range(request, size)
            headers = {"Content-Length": str(last - first + 1), "Accept-Ranges": "bytes"}
            headers["Content-Type"] = "application/octet-stream"
            if status == 206:
                headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            await exchange.answer(status, headers, file if with_body else None, first, last - first + 1)

    async def _take(self, exchange: _HttpExchange, job: ReferencedJob, name: str) -> None:
        # Beside the outputs until it is whole: what is published meanwhile must not hold the half of it.
        part = job.output.with_name(f"put-{secrets.token_hex(8)}")
        try:
            size = await exchange.receive(part, job.room(name))
            if job.output.exists():
                part.replace(job.output / name)
                job.written[name] = size
        finally:
            part.unlink(missing_ok=True)
        await exchange.answer(201, {"Content-Length": "0"})


class _HttpExchange:
    """One connection, by h11's state machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)

    @property
    def goes_on(self) -> bool:
        """Whether another request may follow."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def next(self) -> None:
        """Begin the next request."""
        self._http.start_next_cycle()

    async def request(self) -> h11.Request | None:
        """Read a request's head; None where the client has gone."""
        event = await self._event()
        return event if isinstance(event, h11.Request) else None

    async def linger(self) -> None:
        """Read on for a moment: closed at once, the connection would be reset before the client reads the refusal."""
        self._writer.write_eof()
        async with asyncio.timeout(_LINGER_SECONDS):
            while await self._reader.read(_CHUNK_BYTES):
                pass

    async def receive(self, path: Path, limit_bytes: int) -> int:
        """Write the request's body into a new file; its size. Raises _Refused where it is longer."""
        size = 0
        with path.open("xb") as file:
            while isinstance(event := await self._event(), h11.Data):
                size += len(event.data)
                if size > limit_bytes:
                    raise _Refused(413)
                await asyncio.to_thread(file.write, event.data)
        if not isinstance(event, h11.EndOfMessage):
            raise ConnectionResetError
        return size

    async def answer(
        self, status: int, headers: dict[str, str], file: BinaryIO | None = None, first: int = 0, size: int = 0
    ) -> None:
        """Send an answer, with so many bytes of a file from ``first`` on."""
        self._send(h11.Response(status_code=status, headers=list(headers.items())))
        if file is not None:
            file.seek(first)
            while size > 0 and (chunk := await asyncio.to_thread(file.read, min(size, _CHUNK_BYTES))):
                size -= len(chunk)
                self._send(h11.Data(data=chunk))
                async with asyncio.timeout(_IDLE_SECONDS):
                    await self._writer.drain()
        self._send(h11.EndOfMessage())
        async with asyncio.timeout(_IDLE_SECONDS):
            await self._writer.drain()

    def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            self._writer.write(data)

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
            async with asyncio.timeout(_IDLE_SECONDS):
                self._http.receive_data(await self._reader.read(_CHUNK_BYTES))
        return event


def _range(request: h11.Request, size: int) -> tuple[int, int, int]:
    """First and last byte, and the status. Raises _Refused for a range that lies outside."""
    asked = next((value.decode("ascii") for name, value in request.headers if name == b"range"), "")
    found = _RANGE.fullmatch(asked)
    if not found or size == 0:
        return 0, size - 1, 200
    first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    if not first <= last:
        raise _Refused(416)
    return first, last, 206
