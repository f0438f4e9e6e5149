"""Event loop with virtual time: when no callback is ready, time jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.process import SimulatedProcess


_RESOLUTION_SECONDS = 1e-9
"""Timers that are no further apart are due at once."""
_MANY_TIMERS = 100
"""Where there are more, cancelled ones are taken out as soon as they are the most."""


class Stuck(Exception):
    """No callback is ready and no timer is set: a deadlock."""


class _Nothing(selectors.BaseSelector):
    """Selector without files, which nothing selects."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def get_map(self) -> Any:
        return {}

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        raise KeyError(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        raise NotImplementedError


current: ContextVar[SimulatedProcess | None] = ContextVar("current", default=None)
"""The simulated process that the running task belongs to."""


class Threads(Executor):
    """Stands for a store's thread pool: a call submitted to it is a simulated request."""

    def __init__(self, process: SimulatedProcess) -> None:
        self.process = process
        self.request: Callable[[], Coroutine[Any, Any, Any]] | None = None


class VirtualHandle:
    """A callback that is ready. It is what asyncio's own handle is, without what finds bugs of asyncio's users."""

    __slots__ = ("args", "callback", "context", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled, self.callback, self.args = True, None, ()

    def cancelled(self) -> bool:
        return self.is_cancelled


class VirtualTimer(float):
    """A callback with its time, which is its value: so the heap of timers compares numbers, and calls no Python."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "is_waiting", "loop")

    callback: Callable[..., object] | None
    args: tuple[Any, ...]
    context: Context
    is_cancelled: bool
    is_waiting: bool
    """Whether it is in the heap."""
    loop: VirtualLoop

    def cancel(self) -> None:
        if not self.is_cancelled:
            self.loop.cancelled_timers += self.is_waiting
        self.is_cancelled, self.callback, self.args = True, None, ()

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return float(self)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in the order in which they became ready; the world's draws decide when that is.

    A simulated day consists of a million callbacks, so what asyncio does around each of them is left out here: looking
    for files, thread safety, debugging. The order of callbacks is that of asyncio.
    """

    def __init__(self) -> None:
        self._elapsed = 0.0
        self._callbacks: deque[VirtualHandle | VirtualTimer] = deque()
        self._timers: list[VirtualTimer] = []
        self.cancelled_timers = 0
        """Of those that are in the heap."""
        super().__init__(_Nothing())
        # Tasks of killed processes leave exceptions behind that no code retrieves.
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        return self._elapsed

    def begin_at(self, seconds: float) -> None:
        """Set the time before anything was scheduled."""
        assert not self._timers, "time does not jump"
        self._elapsed = seconds

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> VirtualHandle:
        handle = VirtualHandle(callback, args, context)
        self._callbacks.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> VirtualTimer:
        return self.call_at(self._elapsed + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> VirtualTimer:
        timer = VirtualTimer(when)
        timer.callback, timer.args, timer.loop = callback, args, self
        timer.context = copy_context() if context is None else context
        timer.is_cancelled, timer.is_waiting = False, True
        heappush(self._timers, timer)
        return timer

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=None if name is None else str(name), context=context)

    def _run_once(self) -> None:
        """Run what is ready, or have time pass until something is, again and again until the loop is stopped."""
        callbacks, timers = self._callbacks, self._timers
        while not self._stopping:  # type: ignore[attr-defined]
            self._forget_cancelled()
            if not callbacks:
                if not timers:
                    raise Stuck
                self._elapsed += max(0.0, timers[0] - self._elapsed)
            due = self._elapsed + _RESOLUTION_SECONDS
            while timers and timers[0] < due:
                timer = heappop(timers)
                timer.is_waiting = False
                callbacks.append(timer)
            for _ in range(len(callbacks)):  # what these make ready has its turn after them
                handle = callbacks.popleft()
                if handle.callback is None:
                    continue
                try:
                    handle.context.run(handle.callback, *handle.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler({"message": "a callback failed", "exception": error})

    def _forget_cancelled(self) -> None:
        timers = self._timers
        if len(timers) > _MANY_TIMERS and self.cancelled_timers > len(timers) / 2:
            for timer in timers:
                timer.is_waiting = not timer.is_cancelled
            timers[:] = [timer for timer in timers if not timer.is_cancelled]
            heapify(timers)
            self.cancelled_timers = 0
        while timers and timers[0].is_cancelled:
            heappop(timers).is_waiting = False
            self.cancelled_timers -= 1

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run without threads: calls of a store's client become requests, all others run at once."""
        if isinstance(executor, Threads):
            assert executor.request is not None
            return self.create_task(executor.request())
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future
