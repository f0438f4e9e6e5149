"""Event loop with virtual time: when no callback is ready, time jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.process import SimulatedProcess


class Stuck(Exception):
    """No callback is ready and no timer is set: a deadlock."""


class _Nothing(selectors.BaseSelector):
    """Selector without files. It advances the virtual time by its timeout instead of waiting."""

    def __init__(self, passes: Callable[[float], None]) -> None:
        self._passes = passes

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def get_map(self) -> Any:
        return {}

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        raise KeyError(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck
        self._passes(timeout)
        return []


current: ContextVar[SimulatedProcess | None] = ContextVar("current", default=None)
"""The simulated process that the running task belongs to."""


class Threads(Executor):
    """Stands for a store's thread pool: a call submitted to it is a simulated request."""

    def __init__(self, process: SimulatedProcess) -> None:
        self.process = process
        self.request: Callable[[], Coroutine[Any, Any, Any]] | None = None


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in the order in which they became ready; the world's draws decide when that is."""

    def __init__(self) -> None:
        self._elapsed = 0.0
        super().__init__(_Nothing(self._pass))
        # Tasks of killed processes leave exceptions behind that no code retrieves.
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        return self._elapsed

    def _pass(self, seconds: float) -> None:
        self._elapsed += max(0.0, seconds)

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
