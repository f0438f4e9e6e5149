"""Tells operators how the senders of notifications fare: what was taken last, what is refused and why.

A store whose notifications are refused says nothing to anybody, and a sweep finds its objects later: without this the
only sign of a wrong secret would be that everything is slow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from webhook.ledger.ledger import Ledger
from webhook.loops import LoopHealth
from webhook.metrics import Metrics

log = structlog.get_logger()

UNKNOWN = "unknown"
"""Source of notifications to a URL that names none of ours."""
_WRITE_SECONDS = 2.0
_LOG_SECONDS = 60.0
"""Between two lines in the log about the same fault of the same source."""


@dataclass(slots=True)
class _SenderNews:
    """What is not in the ledger yet of one source."""

    taken_at: float | None = None
    refused: int = 0
    refused_at: float | None = None
    error: str = ""
    message: str = ""

    def add(self, later: _SenderNews) -> None:
        """Add what came after this."""
        self.taken_at = later.taken_at or self.taken_at
        self.refused += later.refused
        if later.refused_at is not None:
            self.refused_at, self.error, self.message = later.refused_at, later.error, later.message

    def row(self, now: float) -> tuple[float | None, int, float | None, str, str]:
        """Make the arguments of ``report_senders`` behind the source's name, times as ages in seconds."""
        return _age(now, self.taken_at), self.refused, _age(now, self.refused_at), self.error, self.message


@dataclass(slots=True)
class _LoggedFault:
    at: float
    since: int = 0
    """Refused since then, without a line."""


class Senders:
    """Counts notifications that were taken and refused; writes the counts to the ledger now and then.

    Holds at most one entry a source and one a fault: neither is the sender's to choose.
    """

    def __init__(
        self,
        ledger: Ledger,
        metrics: Metrics,
        health: LoopHealth | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._health = health or LoopHealth()
        self._metrics = metrics
        self._clock = clock
        self._news: dict[str, _SenderNews] = {}
        self._logged: dict[tuple[str, str], _LoggedFault] = {}

    def taken(self, source: str) -> None:
        """Note that a notification of a source was answered 2xx."""
        self._news.setdefault(source, _SenderNews()).taken_at = self._clock()

    def refused(self, source: str, error: str, message: str) -> None:
        """Note, and log at most once a minute, that a notification was answered 4xx.

        Args:
            source: Name of the source, or `UNKNOWN`.
            error: Code of the answer.
            message: What was wrong; holds no secret, and nothing that the sender chose.

        """
        self._metrics.refused.labels(source, error).inc()
        now = self._clock()
        news = self._news.setdefault(source, _SenderNews())
        news.refused += 1
        news.refused_at, news.error, news.message = now, error, message
        self._log(now, source, error, message)

    def _log(self, now: float, source: str, error: str, message: str) -> None:
        logged = self._logged.get((source, error))
        if logged is not None and now - logged.at < _LOG_SECONDS:
            logged.since += 1
            return
        more = {"refused_since_the_last_line": logged.since} if logged and logged.since else {}
        log.warning("notification refused", source=source, error=error, reason=message, **more)
        self._logged[source, error] = _LoggedFault(now)

    async def run(self) -> None:
        """Write to the ledger every two seconds, until cancelled."""
        while True:
            with self._health.turn("senders"):
                await self.write()
            await asyncio.sleep(_WRITE_SECONDS)

    async def write(self) -> None:
        """Write what is new to the ledger. Raises LedgerUnavailable; then it is written with the next."""
        news, self._news = self._news, {}
        if not news:
            return
        rows = [(source, *item.row(self._clock())) for source, item in news.items()]
        try:
            await self._ledger.fetch("report_senders", *map(list, zip(*rows, strict=True)))
        except BaseException:
            for source, later in self._news.items():
                news.setdefault(source, _SenderNews()).add(later)
            self._news = news
            raise


def _age(now: float, then: float | None) -> float | None:
    return None if then is None else now - then
