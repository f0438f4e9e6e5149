from __future__ import annotations

import json

from webhook.ledger.callers import pauses


def test_a_handler_is_paused_until_its_moment_and_is_tried_from_then_on() -> None:
    unavailable = json.dumps({"1": {"retry_at": 90.0}, "2": {"retry_at": 110.0}, "3": {"retry_at": 100.0}})
    assert pauses(unavailable, 100.0) == (frozenset({2}), frozenset({1, 3}))


def test_a_worker_that_reported_nothing_has_no_pauses() -> None:
    assert pauses("{}", 100.0) == (frozenset(), frozenset())
