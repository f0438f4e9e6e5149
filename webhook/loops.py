"""Keeps the background loops of a control plane going through what may pass, and knows which of them fail now."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from webhook.ledger.database import LedgerUnavailable, LedgerUnusable

log = structlog.get_logger()

MAY_PASS = (LedgerUnavailable, OSError, MemoryError)
"""Errors of the database, and of this machine: a full disk, a limit on open files, processes or memory."""

STALLED_SECONDS = 60.0
"""A loop on which others wait is stalled after so long."""
_QUIET_SECONDS = 5.0
"""An outage of the database is logged once, by its pool. A loop with a connection of its own is named after so long."""


@dataclass(frozen=True, slots=True)
class FailingLoop:
    """A background loop whose last turn failed."""

    loop: str
    error: str
    """Of the last turn."""
    seconds: float
    """Since the first of the turns that failed in a row."""


@dataclass(slots=True)
class _Failure:
    began_at: float
    within_seconds: float
    error: str = ""
    logged: bool = False


class LoopHealth:
    """Which background loops of this process fail, since when and why.

    Args:
        clock: Seconds that only grow.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, _Failure] = {}
        self._turns: dict[str, tuple[float, float]] = {}
        """By loop: when its present turn began, and how long it may last."""

    @contextlib.contextmanager
    def turn(self, loop: str, within_seconds: float = math.inf) -> Iterator[None]:
        """One turn of a loop. An error that may pass is noted instead of raised, and the next turn tries again.

        Anything else is raised: a bug, or a database that only a restart can use (LedgerUnusable). A loop that has not
        come through a turn for ``within_seconds`` is stalled.
        """
        self._turns[loop] = (self._clock(), within_seconds)
        try:
            yield
        except MAY_PASS as error:
            self._failed(loop, error, within_seconds)
        else:
            self.works(loop)
        finally:
            self._turns.pop(loop, None)

    def works(self, loop: str) -> None:
        """Note that a loop does its work (again)."""
        failure = self._failures.pop(loop, None)
        if failure and failure.logged:
            log.info("loop works again", loop=loop, seconds=round(self._clock() - failure.began_at, 1))

    def failing(self) -> list[FailingLoop]:
        """The loops that fail, the one that began first first."""
        now = self._clock()
        found = [FailingLoop(loop, failure.error, now - failure.began_at) for loop, failure in self._failures.items()]
        return sorted(found, key=lambda failing: -failing.seconds)

    def stalled(self) -> list[FailingLoop]:
        """The loops that have failed for longer than they may, or whose turn has lasted longer."""
        now = self._clock()
        hanging = [
            FailingLoop(loop, "its turn does not end", now - began_at)
            for loop, (began_at, within_seconds) in self._turns.items()
            if now - began_at > within_seconds
        ]
        return [f for f in self.failing() if f.seconds > self._failures[f.loop].within_seconds] + hanging

    def _failed(self, loop: str, error: BaseException, within_seconds: float) -> None:
        now = self._clock()
        failure = self._failures.setdefault(loop, _Failure(now, within_seconds))
        failure.error = " ".join(str(error).split()) or type(error).__name__
        quiet = isinstance(error, LedgerUnavailable) and now - failure.began_at < _QUIET_SECONDS
        if not failure.logged and not quiet:
            failure.logged = True
            log.error("loop fails", loop=loop, error=failure.error, hint="it tries again until it succeeds")


async def together(loops: tuple[Coroutine[Any, Any, None], ...], until: Awaitable[None]) -> None:
    """Run endless loops for as long as ``until`` takes.

    A loop outlives what may pass (`LoopHealth`). One that raises ends all: a bug to be seen, or LedgerUnusable.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop) for loop in loops]
            await until
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as errors:
        if unusable := errors.subgroup(LedgerUnusable):
            raise _first(unusable) from None
        raise


def _first(errors: BaseException) -> BaseException:
    """The first error of a group of groups."""
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors
