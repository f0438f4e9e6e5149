"""When the control plane sweeps by itself. Pure: what was done is read from the ledger, so a restart repeats nothing.

Often for what changed lately, where the store can list that; rarely in full, which also finds deletions.
"""

from __future__ import annotations

from datetime import timedelta

from webhook.config import SweepSettings as Settings
from webhook.ledger.sweeps import LastSweep, SweepKind, SweepOrder

OVERLAP = timedelta(minutes=15)
"""Looked at twice: what a region learns late carries an early Last-Modified, and clocks differ."""

QUERY_IGNORED = (
    "the store does not list what changed since a time (X-Tigris-Query): lost events are found by full sweeps only"
)
"""Why a scheduled sweep of what changed lately was given up."""

_QUERY_AGAIN_SECONDS = 86_400.0
"""Before a store that ignored the query is tried again."""
_FAILED_AGAIN_SECONDS = 3600.0
"""Before a sweep is ordered again that failed in spite of its own retries, if its turn does not come before."""
_SPREAD = 0.1
"""Turns of pipelines differ by up to this part of the period, so that not all come at once."""


def due(last: LastSweep, prefix: str, settings: Settings) -> SweepOrder | None:
    """The sweep of this kind and pipeline that is to be ordered now, or None."""
    period = period_seconds(last.kind, settings)
    if not period or last.active or last.good_seconds < period * (1 + _SPREAD * _fraction(last.pipeline_id)):
        return None
    ignored = last.error == QUERY_IGNORED
    pause = _QUERY_AGAIN_SECONDS if ignored else min(period, _FAILED_AGAIN_SECONDS)
    if last.ordered_seconds is not None and last.ordered_seconds < pause:
        return None
    since = last.seen_until - OVERLAP if last.kind == "recent" else None
    return SweepOrder(
        last.pipeline_id,
        last.kind,
        prefix,
        since,
        pages_per_second=settings.pages_per_second,
        scheduled=True,
        new_since=last.new_since,
    )


def period_seconds(kind: SweepKind, settings: Settings) -> float:
    """Between two sweeps of a kind. 0: never."""
    return settings.recent_seconds if kind == "recent" else settings.full_hours * 3600


def _fraction(number: int) -> float:
    return (number * 0.618034) % 1
