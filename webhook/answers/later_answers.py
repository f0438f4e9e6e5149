"""Lets requests to services go on after their clients were told where the answer will be.

This replica has the request in its memory, and the ledger knows so: if the replica ends before the request does, the
answer has failed, and the client is told. An answer that is deleted cancels its request.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import structlog
from starlette.types import Send

from webhook.answers.spooled_answer import SpooledAnswer
from webhook.config import Place
from webhook.ledger.answers import AnswerLedger, AnswerPlace, FinishedAnswer
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.services import Replica
from webhook.loops import LoopHealth
from webhook.storage import ObjectStore, StoreError

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""Between two looks whether answers are still wanted."""
EXPIRY_SECONDS = 60.0
"""Between two looks for answers that have expired."""
_EXPIRED_AT_ONCE = 100
_ATTEMPTS = 4
_PAUSE_SECONDS = 1.0
"""Before an attempt to write an answer is repeated; doubles."""

Forwarded = Callable[[Send], Coroutine[None, None, None]]
"""Sends a request, and its answer by ASGI messages."""
Told = Callable[[Exception], tuple[str, str]]
"""What a client is told of a request that got no answer: a code, and a sentence."""
_STOPPED = FinishedAnswer(
    error="replica-stopped",
    message="the control plane was stopped while it had the request; whether it was carried out is not known",
)


@dataclass(slots=True)
class LaterAnswers:
    """The answers that this replica will write. Use on one event loop."""

    ledger: AnswerLedger
    store: ObjectStore
    replica: Replica
    place: Place | None
    """Below which bodies are put; None: clients have to wait for their answers."""
    keep_seconds: float
    """For which an answer can be fetched, counted from its request."""
    health: LoopHealth
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _forwarding: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """The part of each that may be cancelled: a body that is being written is deleted once it is whole."""

    async def begin(self, service: str, forwarded: Forwarded, told: Told, done: Callable[[], None]) -> str:
        """Let a request go on, and return the answer's id. ``done`` is called when it has ended."""
        assert self.place is not None, "answers are kept"
        id = secrets.token_urlsafe(24)
        place = AnswerPlace(self.place.bucket, f"{self.place.prefix}{service}/{id}")
        await self.ledger.begin(id, service, self.replica, place, self.keep_seconds)
        task = self._running[id] = asyncio.create_task(self._run(id, place, forwarded, told))

        def ended(_: asyncio.Task[None]) -> None:
            del self._running[id]
            done()

        task.add_done_callback(ended)
        return id

    async def forget(self, id: str) -> None:
        """Delete an answer, and cancel its request. Raises LedgerUnavailable, StoreError."""
        place = await self.ledger.forget(id)
        self._cancel(id)
        if place is not None:
            await self.store.delete(place.bucket, place.key, "")

    async def watch(self) -> None:
        """Cancel requests whose answers were deleted at other replicas, for ever."""
        while True:
            with self.health.turn("answers"):
                if ids := [*self._running]:
                    wanted = await self.ledger.wanted(ids)
                    for id in set(ids) - wanted:
                        self._cancel(id)
            await asyncio.sleep(LOOK_SECONDS)

    async def expire(self) -> None:
        """Delete answers that have expired, for ever."""
        while True:
            with self.health.turn("expiry of answers"):
                for id in await self.ledger.expired(_EXPIRED_AT_ONCE):
                    try:
                        await self.forget(id)
                    except StoreError as error:  # the bucket's own lifecycle has to remove it
                        log.warning("answer not removed", id=id, error=str(error))
            await asyncio.sleep(EXPIRY_SECONDS)

    async def aclose(self) -> None:
        """Give up the requests that have not ended, and note so."""
        ids = [*self._running]
        for task in [*self._running.values()]:
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        for id in ids:
            try:
                await self.ledger.finish(id, _STOPPED)
            except LedgerUnavailable:  # they are found to be lost
                return

    def _cancel(self, id: str) -> None:
        if (task := self._forwarding.get(id)) is not None:
            task.cancel()

    async def _run(self, id: str, place: AnswerPlace, forwarded: Forwarded, told: Told) -> None:
        with SpooledAnswer() as answer:
            try:
                if not await self._forwarded(id, forwarded(answer.send)):
                    return
                await self._put(place, answer)
                finished = FinishedAnswer(answer.status, answer.headers, answer.size)
            except Exception as error:
                code, message = told(error)
                finished = FinishedAnswer(error=code, message=message)
        wanted = await self._finish(id, finished)
        if not wanted and finished.state == "done":
            await self.store.delete(place.bucket, place.key, "")

    async def _forwarded(self, id: str, work: Coroutine[None, None, None]) -> bool:
        """Send a request, and take its answer. False: it was cancelled, since the answer is not wanted any more."""
        task = self._forwarding[id] = asyncio.create_task(work)
        try:
            await asyncio.wait([task])
            if task.cancelled():
                return False
            task.result()
            return True
        finally:
            del self._forwarding[id]
            task.cancel()

    async def _put(self, place: AnswerPlace, answer: SpooledAnswer) -> None:
        """Put the body into the bucket. Raises StoreError."""
        for attempt in range(_ATTEMPTS):
            try:
                await self.store.put_streamed(place.bucket, place.key, answer.body(), answer.size, answer.content_type)
                return
            except StoreError as error:
                if not error.retry or attempt == _ATTEMPTS - 1:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS * 2**attempt)

    async def _finish(self, id: str, finished: FinishedAnswer) -> bool:
        pause = _PAUSE_SECONDS
        while True:
            try:
                return await self.ledger.finish(id, finished)
            except LedgerUnavailable:  # until it is back: the request was carried out
                await asyncio.sleep(pause)
                pause = min(2 * pause, 30.0)
