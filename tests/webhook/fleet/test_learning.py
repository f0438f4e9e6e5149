"""Work is likely where it came in most weeks, and nothing is said where little is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from webhook.fleet.learning import HOURS_OF_WEEK, is_work_likely
from webhook.ledger.arrivals import ArrivalHistory

MONDAY = datetime(2026, 6, 1, tzinfo=UTC)


def at(hour: int, minute: int = 0) -> datetime:
    return MONDAY + timedelta(hours=hour, minutes=minute)


def likely_hours(history: ArrivalHistory) -> list[int]:
    """The hours of the week in the middle of which work is likely."""
    return [hour for hour in range(HOURS_OF_WEEK) if is_work_likely(history, at(hour, 30), 60)]


def test_an_hour_in_which_something_came_in_three_of_four_weeks_is_likely() -> None:
    assert likely_hours(ArrivalHistory(4, {8: 4, 20: 3, 30: 2, 40: 1})) == [8, 20]


def test_a_machine_is_wanted_from_its_boot_time_before_the_hour_until_it_ends() -> None:
    history = ArrivalHistory(4, {8: 4})
    assert not is_work_likely(history, at(7, 54), 300)
    assert is_work_likely(history, at(7, 55), 300)
    assert is_work_likely(history, at(8, 59), 300)
    assert not is_work_likely(history, at(9), 300)
    assert is_work_likely(history, at(5), 3 * 3_600), "machines that take hours"


def test_the_week_has_no_end() -> None:
    history = ArrivalHistory(2, {0: 2})
    assert is_work_likely(history, at(HOURS_OF_WEEK - 1, 58), 120)
    assert is_work_likely(history, at(3 * HOURS_OF_WEEK), 1)


def test_an_hour_that_is_a_little_weaker_does_not_let_a_machine_go() -> None:
    assert likely_hours(ArrivalHistory(4, {8: 3, 9: 2, 10: 2, 11: 3, 12: 1, 13: 2})) == [8, 9, 10, 11]


def test_nothing_is_learned_of_less_than_two_weeks() -> None:
    for weeks in (0, 1):
        assert likely_hours(ArrivalHistory(weeks, dict.fromkeys(range(168), weeks))) == []
    assert len(likely_hours(ArrivalHistory(2, dict.fromkeys(range(168), 2)))) == HOURS_OF_WEEK


def test_hours_that_are_all_middling_are_not_likely() -> None:
    assert likely_hours(ArrivalHistory(4, dict.fromkeys(range(168), 2))) == []


weeks = st.integers(0, 6)
histories = weeks.flatmap(
    lambda most: st.builds(ArrivalHistory, st.just(most), st.dictionaries(st.integers(0, 167), st.integers(0, most)))
)


@given(histories, st.integers(0, 400_000), st.integers(0, 400_000), st.integers(0, 400_000))
def test_more_time_to_boot_never_makes_work_less_likely(
    history: ArrivalHistory, seconds: int, boot: int, more: int
) -> None:
    now = MONDAY + timedelta(seconds=seconds)
    assert is_work_likely(history, now, boot) <= is_work_likely(history, now, boot + more)
