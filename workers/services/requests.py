"""Answers streams of the service tunnel: each is one request for a server on this machine."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from workers.concurrency import end
from workers.services.local_http import (
    BodyMismatch,
    LocalConnection,
    LocalServer,
    ServerAbsent,
    ServerGarbled,
    ServerGone,
)
from workers.services.sockets import answer_upgrade
from workers.tunnel.frames import Kind, ResetCode, TunnelViolation
from workers.tunnel.heads import HeadRefused, RequestHead
from workers.tunnel.stream import StreamEnded, TunnelStream

_log = structlog.get_logger()

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_LEAVES = "the machine takes no more requests"


class ServiceRequests:
    """The requests of one service that this worker answers. Use on one event loop."""

    def __init__(self, port: int, concurrency: int) -> None:
        """At most ``concurrency`` requests are at the server at once; others wait."""
        self._port = port
        self._server = LocalServer(port)
        self._slots = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._ended = asyncio.Event()

    @property
    def running(self) -> int:
        """Requests under way, and waiting."""
        return len(self._tasks)

    def opened(self, stream: TunnelStream, kind: Kind, payload: bytes) -> None:
        """Answer a stream that the control plane has opened. Raises TunnelViolation."""
        head = RequestHead.decoded(payload)
        if self._leaving:
            stream.close(ResetCode.UNSENT, _LEAVES)
            return
        task = asyncio.create_task(self._answer(stream, kind, head))
        stream.given_up = task.cancel
        self._tasks.add(task)
        task.add_done_callback(self._has_ended)

    async def drain(self, seconds: float) -> None:
        """Take no more requests; wait until those under way have ended, for so many seconds at most."""
        self._leaving = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._tasks:
                    self._ended.clear()
                    await self._ended.wait()

    async def aclose(self) -> None:
        """Cancel what is under way."""
        self._leaving = True
        await end(self._tasks)
        self._server.close()

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("service-request-fault", exc_info=error)

    async def _answer(self, stream: TunnelStream, kind: Kind, head: RequestHead) -> None:
        code, reason = ResetCode.LOST, "the request was ended at the machine"
        try:
            async with self._slots:
                if kind is Kind.UPGRADE:
                    await answer_upgrade(stream, head, self._port)
                else:
                    await self._exchange(stream, head)
        except StreamEnded:
            pass
        except ServerAbsent as error:
            code, reason = ResetCode.UNSENT, str(error)
        except ServerGone as error:
            reason = str(error)
        except (ServerGarbled, HeadRefused) as error:
            code, reason = ResetCode.NONSENSE, str(error)
        finally:
            stream.close(code, reason)

    async def _exchange(self, stream: TunnelStream, head: RequestHead) -> None:
        try:
            await self._once(stream, head, await self._server.connection())
        except ServerGone as gone:
            # A connection that was kept may have been closed by the server just before.
            if not gone.stale or head.body_bytes != 0 or head.method not in _IDEMPOTENT:
                raise
            await self._once(stream, head, await self._server.connection(fresh=True))

    async def _once(self, stream: TunnelStream, head: RequestHead, connection: LocalConnection) -> None:
        connection.begin(head)
        sending = asyncio.create_task(_send_body(stream, connection)) if head.body_bytes != 0 else None
        try:
            answer = await connection.head()
            stream.send(Kind.ANSWER, answer.encoded())
            while chunk := await connection.chunk():
                await stream.send_data(chunk)
            stream.send(Kind.END)
        except BaseException:
            connection.close()
            raise
        finally:
            if sending is not None:
                await end([sending])
        self._server.keep(connection)


async def _send_body(stream: TunnelStream, connection: LocalConnection) -> None:
    try:
        while True:
            kind, payload = await stream.next()
            if kind is Kind.END:
                connection.end()
                return
            if kind is not Kind.DATA:
                raise TunnelViolation(f"a {kind.name} came in a body")
            await connection.send(payload)
    except OSError:
        return  # the server may have answered before it closed the connection
    except (BodyMismatch, TunnelViolation):
        connection.close()
