from __future__ import annotations

from webhook.live import LiveMapping


def test_who_reads_it_sees_what_holds_now_and_a_loop_what_held_when_it_began() -> None:
    live = LiveMapping({"a": 1, "b": 2})
    seen = []
    for name in live:
        live.replace({"c": 3})
        seen.append(name)
    assert seen == ["a", "b"]
    assert (dict(live), live.get("a"), live["c"], len(live), live.now) == ({"c": 3}, None, 3, 1, {"c": 3})
