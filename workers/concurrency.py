"""Runs coroutines side by side, all of which have ended when the call returns.

An error is raised as itself, not inside an exception group as by ``asyncio.TaskGroup``: callers catch it by its class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def all_of(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return every result, in order. The first error cancels the others, and is raised once they have ended."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            _raise_first(tasks)
        return [task.result() for task in tasks]
    finally:
        await end(tasks)


async def first_of(*coroutines: Coroutine[Any, Any, T]) -> T:
    """Return the result, or raise the error, of the coroutine that ends first; cancel the others and wait for them.

    Of several that ended at once an error wins, so that a lost lease is never hidden by work that was just done.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        _raise_first(done)
        return next(task.result() for task in tasks if task in done)
    finally:
        await end(tasks)


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks that still run, and wait until all have ended. Their errors are ignored."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _raise_first(tasks: Iterable[asyncio.Task[T]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error
