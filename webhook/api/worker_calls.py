"""Limits how many calls and long polls of one worker are under way at once.

An agent waits with one long poll. After its connection broke it starts another while the first one still waits here, so
two may wait; a third ends the older one, which answers without leases. Where both have begun just now the third is
refused instead: a worker that keeps starting polls would otherwise end them as fast as it can ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from webhook.api.http import HttpProblem
from workers.protocol import MAX_LEASES

MAX_POLLS = 2
"""Long polls of one worker that may wait at once."""
MAX_CALLS = 2 * MAX_LEASES + MAX_POLLS
"""Calls of one worker that may be under way at once: two for each lease, and its polls."""
YOUNG_SECONDS = 1.0
"""A long poll that began so shortly ago is not ended by a newer one."""


@dataclass(eq=False, slots=True)
class LongPoll:
    """One request for work."""

    ended: bool = False
    """Whether a newer poll has taken its place: it has to be answered now."""
    wakeup: asyncio.Event | None = None
    """What it waits for."""
    began_at: float = field(default_factory=time.monotonic)

    def end(self) -> None:
        """Have the poll answered now."""
        self.ended = True
        if self.wakeup is not None:
            self.wakeup.set()


class WorkerCalls:
    """Counts the calls that are under way, and the long polls that wait, by worker."""

    def __init__(self) -> None:
        self._calls: Counter[int] = Counter()
        self._polls: dict[int, list[LongPoll]] = {}

    @contextlib.contextmanager
    def counted(self, worker_id: int) -> Iterator[None]:
        """Count a call of a worker while it is under way. Raises HttpProblem 429."""
        if self._calls[worker_id] >= MAX_CALLS:
            raise _too_many(f"{MAX_CALLS} calls")
        self._calls[worker_id] += 1
        try:
            yield
        finally:
            self._calls[worker_id] -= 1
            if not self._calls[worker_id]:
                del self._calls[worker_id]

    @contextlib.contextmanager
    def polling(self, worker_id: int) -> Iterator[LongPoll]:
        """Let a worker's request for work wait, in place of its oldest if there are `MAX_POLLS`.

        Raises HttpProblem 429 where that one has only just begun.
        """
        polls = self._polls.setdefault(worker_id, [])
        if len(polls) >= MAX_POLLS:
            if time.monotonic() - polls[0].began_at < YOUNG_SECONDS:
                raise _too_many(f"{MAX_POLLS} long polls")
            polls.pop(0).end()
        poll = LongPoll()
        polls.append(poll)
        try:
            yield poll
        finally:
            if not poll.ended:
                polls.remove(poll)
            if not polls:
                del self._polls[worker_id]


def _too_many(what: str) -> HttpProblem:
    return HttpProblem(429, "too-many-calls", f"{what} of this worker are under way. Call again", retry_after="1")
