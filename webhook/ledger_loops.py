"""Background loops that do nothing but call the ledger: expired leases, track records, counts of arrivals."""

from __future__ import annotations

import asyncio

import structlog

from webhook.ledger.arrivals import count_arrivals
from webhook.ledger.clock import follow_clock
from webhook.ledger.ledger import Ledger
from webhook.loops import STALLED_SECONDS, LoopHealth
from webhook.metrics import Metrics

log = structlog.get_logger()

_REAP_SECONDS = 1.0
_TRACK_RECORDS_SECONDS = 5.0
_ARRIVALS_SECONDS = 20.0
"""What arrives just before the hour may count as of the next one for so long."""


async def reap(ledger: Ledger, metrics: Metrics, health: LoopHealth) -> None:
    """Take back leases past their deadlines, for ever, also after the clock was set back."""
    while True:
        with health.turn("expired leases", STALLED_SECONDS):
            if back_seconds := await follow_clock(ledger.database):
                log.warning("clock set back", seconds=round(back_seconds), hint="Let NTP keep the database's clock.")
            if taken := await ledger.reap():
                metrics.reaped.inc(taken)
                log.warning("leases expired", leases=taken)
        await asyncio.sleep(_REAP_SECONDS)


async def write_track_records(ledger: Ledger, health: LoopHealth) -> None:
    """Write how leases ended, for ever."""
    while True:
        await asyncio.sleep(_TRACK_RECORDS_SECONDS)
        with health.turn("track records"):
            await ledger.track_records.write(ledger.database)


async def keep_count_of_arrivals(ledger: Ledger, health: LoopHealth) -> None:
    """Count what arrives by the hour, for ever."""
    while True:
        with health.turn("arrivals"):
            await count_arrivals(ledger)
        await asyncio.sleep(_ARRIVALS_SECONDS)
