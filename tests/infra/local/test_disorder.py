from __future__ import annotations

from dataclasses import replace

from infra.local.disorder import OVERTAKEN_SECONDS, Fate, fate
from infra.local.options import Disorder

NUMBERS = range(1, 2_001)
ALL = Disorder(0.2, 0.3, 0.05, 0.1, hold_seconds=2, seed=7)


def test_without_knobs_nothing_happens_to_any_event() -> None:
    assert {fate(Disorder(), number) for number in NUMBERS} == {Fate()}


def test_the_same_seed_decides_the_same_and_another_something_else() -> None:
    first = [fate(ALL, number) for number in NUMBERS]
    assert [fate(ALL, number) for number in NUMBERS] == first
    assert [fate(replace(ALL, seed=8), number) for number in NUMBERS] != first


def test_about_as_many_events_are_touched_as_asked_for() -> None:
    fates = [fate(ALL, number) for number in NUMBERS]
    for share, touched in (
        (0.2, [each.copy_wait_seconds is not None for each in fates]),
        (0.3, [each.reordered for each in fates]),
        (0.05, [each.dropped for each in fates]),
        (0.1, [each.held for each in fates]),
    ):
        assert abs(sum(touched) / len(fates) - share) < 0.03


def test_turning_one_knob_leaves_the_others_as_they_were() -> None:
    for number in NUMBERS:
        before, after = fate(ALL, number), fate(replace(ALL, drop_share=0.9), number)
        assert replace(after, dropped=before.dropped) == before


def test_waits_are_bounded_and_belong_to_their_reason() -> None:
    for each in (fate(ALL, number) for number in NUMBERS):
        assert each.wait_seconds <= ALL.hold_seconds + OVERTAKEN_SECONDS
        assert (each.wait_seconds > 0) == (each.reordered or each.held)
        assert each.wait_seconds >= ALL.hold_seconds or not each.held
        assert each.copy_wait_seconds is None or 0 <= each.copy_wait_seconds <= ALL.hold_seconds


def test_copies_come_both_at_once_and_later() -> None:
    waits = {fate(replace(ALL, duplicate_share=1), number).copy_wait_seconds for number in NUMBERS}
    assert 0 in waits
    assert len(waits) > 500
