"""Sends one request of a client to a machine of its service, and the answer back, both streamed.

The request's body is read as fast as the machine takes it, and the answer's as fast as the client does. When the client
leaves, the request at the machine is cancelled. A request that its server has surely not seen goes back to the head of
the queue, for what is left of its time there: the begin of its body is kept for that. One that the server may have seen
is sent again once, where its method may be repeated and no part of its body was read.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field, replace
from typing import NoReturn

import structlog
from starlette.types import Message, Receive, Send

from webhook.proxy.deadline import Deadline
from webhook.proxy.exchange import ForwardedAnswer, ForwardedRequest, MachineLost, ServerNonsense
from webhook.proxy.headers import answer_headers
from webhook.proxy.queue import ServiceQueue, WaitedTooLong
from workers.tunnel.frames import FIRST_WINDOW_BYTES

log = structlog.get_logger()

KEPT_BYTES = FIRST_WINDOW_BYTES
"""Of a body, that are kept until the answer comes: no more is read before the machine has taken the request."""
CHUNK_SECONDS = 30.0
"""A client that sends nothing of its body for so long is given up."""
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_WITHOUT_BODY = frozenset({204, 304})


class ForwardingProblem(Exception):
    """The request has no answer that could be passed on: an HTTP status, a code and a sentence."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error


class CutOff(Exception):
    """The answer broke off after its head was sent: the client must see that it is not complete."""


class RequestBody:
    """The body of a client's request, as it comes. Raises ForwardingProblem where it is too long or slow.

    It can be iterated again, from its begin, for as long as all that was read is kept.
    """

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self.consumed = False
        """Whether some of it was asked for."""
        self.problem: ForwardingProblem | None = None
        self.deadline: Deadline | None = None
        """Is moved on with each chunk."""
        self.deadline_seconds = 0.0
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._size = 0
        self._more = True
        self._kept: list[bytes] | None = []
        """All that was read; None: that is too much to be kept, or is not needed any more."""

    @property
    def is_kept(self) -> bool:
        """Whether it can be sent from its begin."""
        return self._kept is not None

    def forget(self) -> None:
        """Do not keep what was read: it is not sent again."""
        self._kept = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.consumed = True
        for chunk in self._kept or ():
            yield chunk
        try:
            with Deadline(CHUNK_SECONDS) as slow:
                while self._more:
                    slow.move(CHUNK_SECONDS)
                    message = await self._receive()
                    slow.pause()
                    if chunk := self._taken(message):
                        yield chunk
        except TimeoutError:
            text = f"no more of the body arrived within {CHUNK_SECONDS:g} seconds"
            self._fail(ForwardingProblem(408, "too-slow", text))

    def _taken(self, message: Message) -> bytes:
        """What a message brings of the body."""
        if message["type"] == "http.disconnect":
            self._fail(ForwardingProblem(400, "disconnected", "the request's body ended early"))
        chunk: bytes = message.get("body", b"")
        if self._size + len(chunk) > self._limit_bytes:
            self._fail(ForwardingProblem(413, "too-large", f"the body is longer than {self._limit_bytes} bytes"))
        if self._size > KEPT_BYTES:
            self._kept = None
        elif chunk and self._kept is not None:
            self._kept.append(chunk)
        self._size += len(chunk)
        self._more = message.get("more_body", False)
        if self.deadline is not None:
            self.deadline.move(self.deadline_seconds)
        return chunk

    def _fail(self, problem: ForwardingProblem) -> NoReturn:
        self.problem = problem
        raise problem


async def empty() -> AsyncIterator[bytes]:
    """A body of no bytes."""
    for nothing in tuple[bytes, ...]():
        yield nothing


@dataclass(slots=True)
class Forwarding:
    """One client's request, on its way."""

    queue: ServiceQueue
    request: ForwardedRequest
    body: RequestBody | None
    """None: the request has no body."""
    send: Send
    shared_origin: bool
    status: int = 0
    """Of the answer, once its head was sent."""
    is_whole: bool = False
    """Whether the whole answer was sent."""
    _lost: set[int] = field(default_factory=set)
    """Machines whose servers may have seen the request."""
    _sent: bool = False
    """Whether it was sent again though a server may have seen it: that is done once."""

    async def run(self) -> None:
        """Wait for a machine, and pass request and answer on.

        Raises NoSlot and ForwardingProblem before the answer's head was sent, CutOff after that.
        """
        begun, last = self.queue.now, None
        while True:
            try:
                await self._once(begun if last else None)
                return
            except WaitedTooLong as late:
                raise (WaitedTooLong(f"{late}. The last one was lost: {last}") if last else late) from None
            except MachineLost as lost:
                if not self._may_repeat(lost):
                    raise self._of_loss(lost) from lost
                if last is None:
                    log.info("sent again", service=self.queue.name, method=self.request.method, lost=str(lost))
                if not lost.unsent:
                    self._sent, begun = True, self.queue.now  # it may have been at the server for long
                last = lost

    async def _once(self, since: float | None) -> None:
        try:
            await self._tried(since)
        except Exception as error:
            if not self.is_whole:
                raise
            # The client has it all, and may use its connection for the next request.
            log.info("ended late", service=self.queue.name, error=str(error))

    async def _tried(self, since: float | None) -> None:
        settings = self.queue.settings
        async with self.queue.turn(self._avoided(), since) as turn:
            request = self.request
            if since is not None and self.body is not None:
                request = replace(request, body=aiter(self.body))
            try:
                with Deadline(settings.answer_seconds) as deadline:
                    if self.body is not None:
                        self.body.deadline, self.body.deadline_seconds = deadline, settings.answer_seconds
                    async with turn.way.exchange(request) as answer:
                        if self.body is not None:
                            self.body.deadline = None
                            self.body.forget()
                        await self._answered(answer, deadline)
            except MachineLost as lost:
                if not lost.unsent:
                    self._lost.add(turn.machine.worker_id)
                raise
            except TimeoutError:
                raise self._late() from None
            except ServerNonsense as error:
                raise self._failed(ForwardingProblem(502, "server-nonsense", str(error))) from None
            except Exception:
                if self.body is not None and self.body.problem is not None:
                    raise self._failed(self.body.problem) from None
                raise

    def _avoided(self) -> Collection[int]:
        """Machines that were lost, where there are others."""
        return self._lost if self._lost and self.queue.machines.keys() - self._lost else ()

    async def _answered(self, answer: ForwardedAnswer, deadline: Deadline) -> None:
        """Pass an answer on."""
        if not 200 <= answer.status <= 599:
            raise ServerNonsense(f"the server answered with status {answer.status}")
        try:
            headers = answer_headers(answer.headers, shared_origin=self.shared_origin)
        except ValueError as error:
            raise ServerNonsense(str(error)) from None
        has_body = answer.status not in _WITHOUT_BODY and self.request.method != "HEAD"
        if answer.status in _WITHOUT_BODY:
            headers = [header for header in headers if header[0] != b"content-length"]
        length = dict(headers).get(b"content-length") if has_body else None
        left = math.inf if length is None else int(length)
        stall_seconds = self.queue.settings.stall_seconds
        deadline.move(stall_seconds)
        await self.send({"type": "http.response.start", "status": answer.status, "headers": headers})
        self.status = answer.status
        async for chunk in answer.body:
            if chunk and has_body and not self.is_whole:
                left -= len(chunk)
                if left < 0:
                    raise CutOff("the answer is longer than its head says")
                await self.send({"type": "http.response.body", "body": chunk, "more_body": left > 0})
                self.is_whole = not left
            deadline.move(stall_seconds)
        if 0 < left < math.inf:
            raise CutOff("the answer is shorter than its head says")
        if not self.is_whole:
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})
            self.is_whole = True

    def _may_repeat(self, lost: MachineLost) -> bool:
        if self.status or lost.answered:
            return False
        if lost.unsent:
            return self.body is None or self.body.is_kept
        consumed = lost.body_consumed or (self.body is not None and self.body.consumed)
        return not consumed and not self._sent and self.request.method in _IDEMPOTENT

    def _of_loss(self, lost: MachineLost) -> Exception:
        outcome = "it was not sent" if lost.unsent else "whether it was carried out is not known"
        message = f"the request's machine was lost: {lost}; {outcome}"
        return self._failed(ForwardingProblem(502, "machine-lost", message))

    def _late(self) -> Exception:
        settings = self.queue.settings
        if self.status:
            return CutOff(f"the answer brought nothing for {settings.stall_seconds:g} s")
        return ForwardingProblem(
            504, "no-answer", f"the server has not answered within {settings.answer_seconds:g} s: raise answer_seconds "
            f"of service {self.queue.name} where it may take longer",
        )  # fmt: skip

    def _failed(self, problem: ForwardingProblem) -> Exception:
        return CutOff(str(problem)) if self.status else problem
