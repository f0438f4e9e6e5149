"""A limit of time that costs next to nothing to set, to move on with each chunk of a body, and to take away."""

from __future__ import annotations

import asyncio
import math
import weakref
from types import TracebackType
from typing import Self

LOOK_SECONDS = 0.1
"""A limit ends its task so much late at most."""


class Deadline:
    """Cancels the task that has entered it once its time is up, and raises TimeoutError then.

    As ``asyncio.timeout``, but without a timer of its own: one for all of an event loop looks which of them have ended.
    """

    def __init__(self, seconds: float) -> None:
        """``seconds`` are counted from when it is entered."""
        self._seconds = seconds
        self._until = math.inf
        self._loop: asyncio.AbstractEventLoop
        self._watch: _Watch
        self._task: asyncio.Task[object]
        self._cancelling = 0
        self._has_ended = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None, "it is entered by a task"
        self._loop, self._task, self._cancelling = task.get_loop(), task, task.cancelling()
        self.move(self._seconds)
        self._watch = _watch_of(self._loop)
        self._watch.add(self, self._loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watch.deadlines.discard(self)
        if self._has_ended and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def move(self, seconds: float) -> None:
        """End in so many seconds from now."""
        self._until = self._loop.time() + seconds

    def pause(self) -> None:
        """Do not end before it is moved again."""
        self._until = math.inf

    def look(self, now: float) -> None:
        """End if the time is up."""
        if self._until <= now and not self._has_ended:
            self._has_ended = True
            self._task.cancel()


class _Watch:
    """Looks at all deadlines of one event loop in turn, while there are any. Keeps no loop alive."""

    def __init__(self) -> None:
        self.deadlines: set[Deadline] = set()
        self._runs = False

    def add(self, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        self.deadlines.add(deadline)
        if not self._runs:
            self._runs = True
            loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for deadline in self.deadlines:
            deadline.look(now)
        self._runs = bool(self.deadlines)
        if self._runs:
            loop.call_later(LOOK_SECONDS, self._look)


_watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = weakref.WeakKeyDictionary()


def _watch_of(loop: asyncio.AbstractEventLoop) -> _Watch:
    watch = _watches.get(loop)
    if watch is None:
        watch = _watches[loop] = _Watch()
    return watch
