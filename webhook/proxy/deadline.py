"""A limit of time that is moved on with each chunk of a body, at the cost of an assignment."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self


class Deadline:
    """Cancels the task that has entered it once its time is up, and raises TimeoutError then.

    As ``asyncio.timeout``, but to move it on sets no timer: the one that runs looks, when it ends, how much is left.
    """

    def __init__(self, seconds: float) -> None:
        """``seconds`` are counted from when it is entered."""
        self._seconds = seconds
        self._until = math.inf
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[object]
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf
        self._cancelling = 0
        self._has_ended = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None, "it is entered by a task"
        self._loop, self._task, self._cancelling = task.get_loop(), task, task.cancelling()
        self.move(self._seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._has_ended and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def move(self, seconds: float) -> None:
        """End in so many seconds from now."""
        self._until = self._loop.time() + seconds
        if self._until < self._looks_at:
            self._look_at(self._until)

    def pause(self) -> None:
        """Do not end before it is moved again."""
        self._until = math.inf

    def _look_at(self, time: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at, self._timer = time, self._loop.call_at(time, self._look)

    def _look(self) -> None:
        self._looks_at, self._timer = math.inf, None
        if self._until <= self._loop.time():
            self._has_ended = True
            self._task.cancel()
        elif self._until < math.inf:
            self._look_at(self._until)
