"""Decides when scheduled sweeps are due. Pure: the ledger holds the earlier sweeps, so a restart repeats none.

Recent changes are swept often, where the store can list them; full sweeps, which also find deletions, are rare.
"""

from __future__ import annotations

from datetime import timedelta

from webhook.config import SweepSettings as Settings
from webhook.ledger.sweeps import LastSweep, SweepKind, SweepOrder

OVERLAP = timedelta(minutes=15)
"""Time that two recent sweeps both cover: an object that a region receives late has an early Last-Modified, and clocks
differ."""

QUERY_IGNORED = (
    "the store does not list what changed since a time (X-Tigris-Query): lost events are found by full sweeps only"
)
"""Error of a recent sweep that was cancelled because the store ignored its query."""

_QUERY_AGAIN_SECONDS = 86_400.0
"""Pause before the next recent sweep of a store that ignored the query."""
_FAILED_AGAIN_SECONDS = 3600.0
"""Longest pause before the next sweep, after one that failed in spite of its retries."""
_SPREAD = 0.1
"""Periods of pipelines differ by up to this fraction, so that not all sweeps are due at once."""


def due(last: LastSweep, prefix: str, settings: Settings) -> SweepOrder | None:
    """Return the order for the next sweep of this kind and pipeline, or None where none is due."""
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
    """Return the time between two sweeps of a kind. 0: never."""
    return settings.recent_seconds if kind == "recent" else settings.full_hours * 3600


def _fraction(number: int) -> float:
    return (number * 0.618034) % 1
