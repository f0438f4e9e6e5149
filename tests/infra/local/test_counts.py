from __future__ import annotations

from infra.local.counts import Counts


def test_requests_are_counted_by_their_outcome() -> None:
    counts = Counts()
    for outcome in ("200", "503", "200", "timeout"):
        counts.answered(outcome)
    assert counts.requests == {"200": 2, "503": 1, "timeout": 1}


def test_two_hubs_share_no_counts() -> None:
    Counts().answered("200")
    assert Counts().requests == {}
