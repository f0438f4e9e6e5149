"""Writes requests that arrive at the same time in one transaction (group commit).

While one flush is with the database, what arrives waits; the next flush takes all of it, up to a limit. Under no load a
request is flushed at once, under load the size of a flush grows by itself: where one flush held several items, the next
waits a moment for more items, since its cost is for the most part the same for one item and for fifty. More than
``backlog`` waiting units are refused, so that a database that stalls shows as 503 and not as memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Overloaded(Exception):
    """More items wait to be written than ``backlog`` allows. Try again in a moment."""


class Batcher(Generic[Item, Answer]):
    """Collects items and hands them to ``flush`` in batches, one batch at a time.

    ``flush`` takes the items in the order they came and returns an answer each; what it raises, every waiting caller
    of that batch gets. ``weigh`` says how much one item counts for ``largest`` and ``backlog``. Under load a batch that
    is not full waits ``linger_seconds``.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        largest: int,
        backlog: int,
        weigh: Callable[[Item], int] = lambda _: 1,
        linger_seconds: float = 0.0,
    ) -> None:
        self._flush = flush
        self._largest = largest
        self._backlog = backlog
        self._weigh = weigh
        self._linger_seconds = linger_seconds
        self._waiting: deque[tuple[Item, int, asyncio.Future[Answer]]] = deque()
        self._weight = 0
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Answer:
        """Return this item's answer, once its batch is written. Raises Overloaded, or what the flush raised.

        The item is written also where the caller is cancelled meanwhile: a sender that gives up may not send it again.
        """
        weight = self._weigh(item)
        if self._waiting and self._weight + weight > self._backlog:
            raise Overloaded
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, weight, answer))
        self._weight += weight
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await answer

    @property
    def waiting(self) -> int:
        """Items that wait for the next batch."""
        return len(self._waiting)

    async def aclose(self) -> None:
        """Wait until everything submitted is written."""
        if self._task is not None:
            await self._task

    async def _work(self) -> None:
        busy = False
        while self._waiting:
            if busy and self._linger_seconds and self._weight < self._largest:
                await asyncio.sleep(self._linger_seconds)
            batch = self._take()
            busy = len(batch) > 1
            try:
                answers = await self._flush([item for item, _ in batch])
                answered = list(zip(batch, answers, strict=True))
            except Exception as error:  # every submitter that waits for this batch gets it
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), value in answered:
                if not answer.done():
                    answer.set_result(value)

    def _take(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        batch: list[tuple[Item, asyncio.Future[Answer]]] = []
        weight = 0
        while self._waiting and (not batch or weight + self._waiting[0][1] <= self._largest):
            item, own, answer = self._waiting.popleft()
            weight += own
            batch.append((item, answer))
        self._weight -= weight
        return batch
