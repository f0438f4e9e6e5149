"""Wakes long polls when work becomes due.

The ledger notifies once a transaction that made something due. A slow tick rings as well, for what becomes due by the
passing of time (retries) and for notifications lost with a connection: the doorbell makes things fast, never right.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Sequence

import asyncpg
import structlog

from webhook.ledger.database import CONNECT_SECONDS, GONE, LedgerUnavailable
from webhook.ledger.ledger import CHANNEL, Ledger

log = structlog.get_logger()

TICK_SECONDS = 0.5
_RECONNECT_SECONDS = 1.0


class Wakeups:
    """Rung by pipeline number."""

    def __init__(self) -> None:
        self._waiting: dict[int, set[asyncio.Event]] = {}

    @contextlib.contextmanager
    def listening(self, pipelines: Sequence[int]) -> Iterator[asyncio.Event]:
        """An event that is set whenever one of the pipelines rings. Look for work after this, not before."""
        bell = asyncio.Event()
        for number in pipelines:
            self._waiting.setdefault(number, set()).add(bell)
        try:
            yield bell
        finally:
            for number in pipelines:
                self._waiting[number].discard(bell)

    def ring(self, pipelines: Iterable[int] | None = None) -> None:
        """Wake those who listen to these pipelines; to any, where None."""
        for number in list(self._waiting) if pipelines is None else pipelines:
            for bell in self._waiting.get(number, ()):
                bell.set()

    async def tick(self, ledger: Ledger) -> None:
        """Ring for what has become due by itself, for ever."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            listened = [number for number, bells in self._waiting.items() if bells]
            if listened:
                with contextlib.suppress(LedgerUnavailable):
                    self.ring(row["id"] for row in await ledger.fetch("due", listened, "work"))

    async def listen(self, dsn: str) -> None:
        """Hear the ledger's notifications, for ever, over a connection of its own."""
        while True:
            try:
                connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
            except GONE:
                await asyncio.sleep(_RECONNECT_SECONDS)
                continue
            try:
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                await connection.add_listener(CHANNEL, self._heard)
                self.ring()  # what was notified while nobody listened
                await lost.wait()
                log.warning("notifications lost", hint="reconnecting; the slow tick wakes workers meanwhile")
            except GONE:
                await asyncio.sleep(_RECONNECT_SECONDS)
            finally:
                with contextlib.suppress(*GONE):
                    await connection.close(timeout=CONNECT_SECONDS)

    def _heard(self, _connection: object, _process: int, _channel: str, payload: object) -> None:
        self.ring(int(number) for number in str(payload).split(","))
