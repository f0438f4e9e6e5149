"""When sweeps are ordered: by what the ledger says of those before, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from webhook.config import SweepSettings as Settings
from webhook.ledger.sweeps import LastSweep, SweepKind
from webhook.sweep.schedule import OVERLAP, QUERY_IGNORED, due

SETTINGS = Settings(recent_seconds=300, full_hours=24, pages_per_second=7)
SEEN = datetime(2026, 5, 15, tzinfo=UTC)
NEW = datetime(2026, 2, 15, tzinfo=UTC)


def last(kind: SweepKind, good_seconds: float, **more: object) -> LastSweep:
    """Of pipeline 0, which has no delay of its own."""
    known = LastSweep(0, kind, False, None, "", good_seconds, SEEN, NEW)
    return replace(known, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        (last("recent", 299), False),
        (last("recent", 301), True),
        (last("full", 86_399), False),
        (last("full", 86_401), True),
        (last("recent", 1e6, active=True), False),
        # It failed: not at once again, but not only a day later either.
        (last("recent", 1e6, ordered_seconds=299), False),
        (last("recent", 1e6, ordered_seconds=301), True),
        (last("full", 1e6, ordered_seconds=3599, error="503"), False),
        (last("full", 1e6, ordered_seconds=3601, error="503"), True),
        # The store does not know the query: once a day.
        (last("recent", 1e6, ordered_seconds=86_399, error=QUERY_IGNORED), False),
        (last("recent", 1e6, ordered_seconds=86_401, error=QUERY_IGNORED), True),
    ],
)
def test_when(known: LastSweep, wanted: bool) -> None:
    assert (due(known, "uploads/", SETTINGS) is not None) is wanted


def test_what() -> None:
    recent = due(last("recent", 400), "uploads/", SETTINGS)
    full = due(last("full", 1e6), "uploads/", SETTINGS)
    assert recent
    assert full
    assert (recent.since, recent.prefix, recent.scheduled, recent.dry_run) == (SEEN - OVERLAP, "uploads/", True, False)
    assert (full.since, full.pages_per_second) == (None, 7)
    assert recent.new_since == full.new_since == NEW


def test_never() -> None:
    never = Settings(recent_seconds=0, full_hours=0)
    assert due(last("recent", 1e9), "", never) is due(last("full", 1e9), "", never) is None


def test_not_all_at_once() -> None:
    at_once = [n for n in range(50) if due(replace(last("full", 86_400 * 1.05), pipeline_id=n), "", SETTINGS)]
    assert 15 < len(at_once) < 35
    assert all(due(replace(last("full", 86_400 * 1.1), pipeline_id=n), "", SETTINGS) for n in range(50))
