"""The latest results in memory: newest first, each object once, so many at most."""

from __future__ import annotations

from webhook.outputs.recent import MOST, RecentResults


def test_the_newest_come_first_and_each_once() -> None:
    recent = RecentResults()
    for key in ("a", "b", "a", "c"):
        recent.note((1, key))
    assert recent.newest(10) == [(1, "c"), (1, "a"), (1, "b")]
    assert recent.newest(1) == [(1, "c")]


def test_the_memory_is_bounded() -> None:
    recent = RecentResults()
    for number in range(10 * MOST):
        recent.note((1, str(number)))
    assert len(recent.newest(10 * MOST)) == MOST
