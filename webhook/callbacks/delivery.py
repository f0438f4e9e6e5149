"""Delivers callbacks: follows the log of settles, and tells each app what is in its outbox.

Each receiver has a line of its own with a few requests at once, so that a slow one delays no other. Of one object only
the callback that is first in order is under way. An attempt is claimed for a minute: a replica that dies in the midst
leaves it to another one, which sends the same message, with the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from webhook.callbacks.composer import CallbackComposer, ResultNotThereYet
from webhook.callbacks.receiver import CONNECTIONS, REQUEST_SECONDS, CallbackReceiver, Reception
from webhook.ledger.callbacks import CallbackOutbox, ClaimedCallback
from webhook.ledger.database import LedgerUnavailable
from webhook.ledger.settles import Settle, SettleLog
from webhook.loops import LoopHealth
from webhook.pipelines import NamedPipeline
from webhook.storage import StoreError

log = structlog.get_logger()

CLAIM_SECONDS = 60.0
"""For which an attempt is one replica's."""
_FIRST_SECONDS, _LONGEST_SECONDS = 5.0, 3600.0
"""Wait after the first failed attempt, and the longest."""
_TICK_SECONDS = 1.0
"""Between two looks for what became due by the passing of time."""
_TIDY_SECONDS = 60.0
_FAILURES = 5
"""Failures in a row from which a receiver is tried with one callback at a time, and ever less often."""
_MOST_PAUSE_SECONDS = 60.0


def retry_seconds(attempt: int, jitter: Callable[[], float] = random.random) -> float:
    """Wait after a failed attempt: fourfold each time, up to an hour, less a random part of a quarter."""
    longest = min(_LONGEST_SECONDS, _FIRST_SECONDS * 4.0 ** min(attempt - 1, 10))
    return longest * (1 - 0.25 * jitter())


class CallbackLine:
    """Delivers the callbacks of one pipeline to its receiver, as one replica."""

    def __init__(
        self,
        pipeline_id: int,
        name: str,
        outbox: CallbackOutbox,
        composer: CallbackComposer,
        receiver: CallbackReceiver,
        noted: Callable[[str, float], None] = lambda _name, _seconds: None,
    ) -> None:
        """The line closes ``receiver`` when it ends.

        ``noted`` is called with the pipeline's name and the seconds from the settling until the app was told.
        """
        self.pipeline_id = pipeline_id
        self.name = name
        self._outbox = outbox
        self._composer = composer
        self._receiver = receiver
        self._noted = noted
        self._wakeup = asyncio.Event()
        self._running: set[asyncio.Task[bool]] = set()
        self._full = False
        """Whether the last turn had no room for more: there may be more that are due."""
        self._begun = False
        self._stopping = False
        self._failures = 0
        self._paused_until = 0.0
        self._tidied_at = 0.0

    def wake(self) -> None:
        """Look for work now."""
        self._wakeup.set()

    def stop(self) -> None:
        """Begin no further attempt, and end ``run`` after those that are under way."""
        self._stopping = True
        self.wake()

    async def run(self, health: LoopHealth) -> None:
        """Deliver until stopped or cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while not self._stopping:
                    begun = 0
                    with health.turn(f"callbacks of {self.name}"):
                        begun = await self.turn(group)
                    if not (begun and self._full):
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(_TICK_SECONDS):
                                await self._wakeup.wait()
                    self._wakeup.clear()
        finally:
            await self._receiver.aclose()

    async def turn(self, group: asyncio.TaskGroup) -> int:
        """Fill the outbox, and begin as many attempts as are due and have room. Returns their number."""
        if not self._begun:
            await self._outbox.begin(self.pipeline_id)
            self._begun = True
        await self._outbox.feed(self.pipeline_id)
        now = time.monotonic()
        if now - self._tidied_at > _TIDY_SECONDS:
            await self._outbox.give_up(self.pipeline_id)
            self._tidied_at = now
        room = (1 if self._failures >= _FAILURES else CONNECTIONS) - len(self._running)
        self._full = True
        if room <= 0 or now < self._paused_until:
            return 0
        claimed = await self._outbox.claim(
            self.pipeline_id, room, seconds=CLAIM_SECONDS, url_hash=self._receiver.url_hash
        )
        self._full = len(claimed) == room
        for each in claimed:
            task = group.create_task(self._attempt(each, now))
            self._running.add(task)
            task.add_done_callback(self._ended)
        return len(claimed)

    def _ended(self, task: asyncio.Task[bool]) -> None:
        self._running.discard(task)
        if self._full or self._stopping or task.cancelled() or task.exception() or task.result():
            self.wake()

    async def _attempt(self, claimed: ClaimedCallback, claimed_at: float) -> bool:
        """Make one attempt. Returns whether another callback of the object has waited for it."""
        try:
            return await self._deliver(claimed, claimed_at)
        except LedgerUnavailable as error:
            # It is claimed until its minute has passed. Then it is sent again, and the receiver knows it by its id.
            log.warning("callback not noted", pipeline=self.name, key=claimed.key, error=str(error))
            return False

    async def _deliver(self, claimed: ClaimedCallback, claimed_at: float) -> bool:
        try:
            body = (await self._composer.compose(claimed)).encode()
        except (StoreError, ResultNotThereYet) as error:
            await self._outbox.failed(claimed, retry_seconds(claimed.attempt), None, str(error))
            return False
        if time.monotonic() - claimed_at > CLAIM_SECONDS - 2 * REQUEST_SECONDS:
            # This process was held up: another replica may have sent it, and a later one of the same object.
            return False
        answer = await self._receiver.send(f"msg_{claimed.message.hex}", body)
        match answer.reception:
            case Reception.TAKEN:
                self._failures = 0
                self._paused_until = 0.0
                more = await self._outbox.taken(claimed, answer.status or 200)
                self._noted(self.name, max(0.0, time.time() - claimed.settled_at.timestamp()))
                return more
            case Reception.OFF:
                log.warning("callbacks turned off", pipeline=self.name, hint="the receiver answered 410")
                await self._outbox.turn_off(self.pipeline_id, self._receiver.url_hash)
                await self._outbox.failed(claimed, 0, answer.status, answer.error)
            case Reception.FAILED:
                self._note_failure(answer.error)
                after = max(retry_seconds(claimed.attempt), answer.retry_after_seconds)
                await self._outbox.failed(claimed, after, answer.status, answer.error)
        return False

    def _note_failure(self, error: str) -> None:
        self._failures += 1
        if self._failures >= _FAILURES:
            pause = min(_MOST_PAUSE_SECONDS, 2.0 ** min(self._failures - _FAILURES, 10))
            self._paused_until = time.monotonic() + pause
        if self._failures == _FAILURES:
            log.warning("callbacks fail", pipeline=self.name, error=error, hint="they are tried again for three days")


class CallbackDelivery:
    """Delivers the callbacks of all pipelines that have one now.

    Args:
        pipelines: All pipelines that are defined now, by number.
        make: Makes the line of one of them.
        settles: Says that there is something to tell.
        health: Of the loops.

    """

    def __init__(
        self,
        pipelines: Callable[[], Mapping[int, NamedPipeline]],
        make: Callable[[int, NamedPipeline], CallbackLine],
        settles: SettleLog,
        health: LoopHealth | None = None,
    ) -> None:
        self._pipelines = pipelines
        self._make = make
        self._settles = settles
        self._health = health or LoopHealth()
        self._lines: dict[int, tuple[NamedPipeline, CallbackLine]] = {}
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Look at the pipelines again: they may be others."""
        self._changed.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                self._follow(group)
                await self._changed.wait()

    def _follow(self, group: asyncio.TaskGroup) -> None:
        """Stop the lines of pipelines that have changed or gone, and start those of new and changed ones."""
        wanted = {number: named for number, named in self._pipelines().items() if named[1].callback is not None}
        for number, (named, line) in [*self._lines.items()]:
            if wanted.get(number) != named:
                line.stop()
                del self._lines[number]
        for number in wanted.keys() - self._lines.keys():
            line = self._make(number, wanted[number])
            self._lines[number] = wanted[number], line
            group.create_task(self._run(line))

    async def _run(self, line: CallbackLine) -> None:
        def wake(settles: Sequence[Settle]) -> None:
            if any(settle.pipeline_id == line.pipeline_id for settle in settles):
                line.wake()

        with self._settles.following(wake):
            await line.run(self._health)
