"""Sends one request of a client to a machine of its service, and the answer back, both streamed.

The request's body is read as fast as the machine takes it, and the answer's as fast as the client does. When the client
leaves, the request at the machine is cancelled. A machine that is lost before the server can have acted is replaced by
another one, once: where nothing was sent, or where the method may be repeated and no part of the body was read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import NoReturn

import structlog
from starlette.types import Message, Receive, Send

from webhook.proxy.deadline import Deadline
from webhook.proxy.exchange import ForwardedAnswer, ForwardedRequest, MachineLost, ServerNonsense
from webhook.proxy.headers import answer_headers
from webhook.proxy.queue import ServiceQueue

log = structlog.get_logger()

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
    """The body of a client's request, as it comes. Raises ForwardingProblem where it is too long or slow."""

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self.consumed = False
        """Whether some of it was asked for."""
        self.problem: ForwardingProblem | None = None
        self.deadline: Deadline | None = None
        """Is moved on with each chunk."""
        self.deadline_seconds = 0.0
        self._receive = receive
        self._limit_bytes = limit_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.consumed = True
        size, more = 0, True
        try:
            with Deadline(CHUNK_SECONDS) as slow:
                while more:
                    slow.move(CHUNK_SECONDS)
                    message = await self._receive()
                    slow.pause()
                    chunk = self._checked(message, size)
                    size += len(chunk)
                    more = message.get("more_body", False)
                    if chunk:
                        yield chunk
        except TimeoutError:
            text = f"no more of the body arrived within {CHUNK_SECONDS:g} seconds"
            self._fail(ForwardingProblem(408, "too-slow", text))

    def _checked(self, message: Message, size: int) -> bytes:
        """What a message brings of the body, of which so many bytes have come before."""
        if message["type"] == "http.disconnect":
            self._fail(ForwardingProblem(400, "disconnected", "the request's body ended early"))
        chunk: bytes = message.get("body", b"")
        if size + len(chunk) > self._limit_bytes:
            self._fail(ForwardingProblem(413, "too-large", f"the body is longer than {self._limit_bytes} bytes"))
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
    _lost: set[int] = field(default_factory=set)

    async def run(self) -> None:
        """Wait for a machine, and pass request and answer on.

        Raises NoSlot and ForwardingProblem before the answer's head was sent, CutOff after that.
        """
        try:
            await self._once()
        except MachineLost as lost:
            if not self._may_repeat(lost):
                raise self._of_loss(lost) from lost
            log.info("sent again", service=self.queue.name, method=self.request.method, lost=str(lost))
            try:
                await self._once()
            except MachineLost as again:
                raise self._of_loss(again) from again

    async def _once(self) -> None:
        settings = self.queue.settings
        async with self.queue.turn(self._avoided()) as turn:
            try:
                with Deadline(settings.answer_seconds) as deadline:
                    if self.body is not None:
                        self.body.deadline, self.body.deadline_seconds = deadline, settings.answer_seconds
                    async with turn.way.exchange(self.request) as answer:
                        if self.body is not None:
                            self.body.deadline = None
                        await self._answered(answer, deadline)
            except MachineLost:
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
        others = set(self.queue.machines) - self._lost
        return self._lost if others else ()

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
        left = next((int(value) for name, value in headers if name == b"content-length"), None) if has_body else None
        stall_seconds = self.queue.settings.stall_seconds
        deadline.move(stall_seconds)
        await self.send({"type": "http.response.start", "status": answer.status, "headers": headers})
        self.status = answer.status
        async for chunk in answer.body:
            if chunk and has_body:
                if left is not None and (left := left - len(chunk)) < 0:
                    raise CutOff("the answer is longer than its head says")
                await self.send({"type": "http.response.body", "body": chunk, "more_body": True})
            deadline.move(stall_seconds)
        if left:
            raise CutOff("the answer is shorter than its head says")
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    def _may_repeat(self, lost: MachineLost) -> bool:
        if self.status or lost.answered:
            return False
        consumed = lost.body_consumed or (self.body is not None and self.body.consumed)
        return not consumed and (lost.unsent or self.request.method in _IDEMPOTENT)

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
