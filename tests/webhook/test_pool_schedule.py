"""Windows begin by the wall clock of their zone, also where clocks change, and a wrong one is refused in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from pydantic import ValidationError

from webhook.pool_schedule import Schedule, scheduled_minimum

BERLIN = ZoneInfo("Europe/Berlin")
WEEKDAYS = Schedule(cron="0 8 * * mon-fri", hours=10, minimum=2, time_zone="Europe/Berlin")


def berlin(month: int, day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, second, tzinfo=BERLIN).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        (berlin(6, 1, 7, 59, 59), False),  # a Monday, summer time
        (berlin(6, 1, 8), True),
        (berlin(6, 1, 17, 59, 59), True),
        (berlin(6, 1, 18), False),
        (berlin(6, 6, 9), False),  # Saturday
        (berlin(12, 1, 8), True),  # standard time: 7:00 UTC
        (berlin(12, 1, 7, 30), False),
    ],
)
def test_a_window_is_open_from_its_begin_until_its_hours_have_passed(now: datetime, is_open: bool) -> None:
    assert WEEKDAYS.is_open(now) is is_open


def test_windows_follow_the_wall_clock_over_a_change_of_clocks() -> None:
    daily = Schedule(cron="0 8 * * *", hours=1, time_zone="Europe/Berlin")
    opened = [
        now for minute in range(4 * 24 * 60) if daily.is_open(now := berlin(3, 27, 12) + timedelta(minutes=minute))
    ]
    begins = [now for now in opened if now - timedelta(minutes=1) not in opened]
    assert [(at.astimezone(BERLIN).hour, at.hour) for at in begins] == [(8, 7), (8, 6), (8, 6), (8, 6)]
    assert len(opened) == 4 * 60


def test_what_begins_in_an_hour_that_is_left_out_begins_right_after() -> None:
    night = Schedule(cron="30 2 * * *", hours=1, time_zone="Europe/Berlin")
    changed = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)  # 2:00 becomes 3:00
    assert not night.is_open(changed - timedelta(seconds=1))
    assert night.is_open(changed)
    assert night.is_open(changed + timedelta(minutes=59))
    assert not night.is_open(changed + timedelta(minutes=60))


def test_what_begins_in_an_hour_that_comes_twice_begins_once() -> None:
    night = Schedule(cron="30 2 * * *", hours=0.5, time_zone="Europe/Berlin")
    begins = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)  # 3:00 becomes 2:00 at 1:00 UTC
    opened = [minute for minute in range(240) if night.is_open(begins + timedelta(minutes=minute))]
    assert opened == list(range(30, 60))


@pytest.mark.parametrize("change", [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)])
@pytest.mark.parametrize("cron", ["0,30 2 * * *", "15 1-4 * * *", "45 */2 * * *", "*/20 2,3 * * sun", "30 2 25,29 * *"])
def test_windows_are_those_that_a_clock_which_never_stops_would_open(change: datetime, cron: str) -> None:
    schedule = Schedule(cron=cron, hours=0.25, time_zone="Europe/Berlin")
    found = islice(CronSim(cron, (change - timedelta(days=2)).astimezone(BERLIN)), 99)
    begins = [begin.astimezone(UTC) for begin in found]
    for minute in range(-300, 300):
        now = change + timedelta(minutes=minute, seconds=30)
        assert schedule.is_open(now) is any(begin <= now < begin + timedelta(minutes=15) for begin in begins), now


def test_hours_that_pass_are_hours_also_when_clocks_change() -> None:
    long = Schedule(cron="0 0 * * sun", hours=24, time_zone="Europe/Berlin")
    begins = berlin(3, 29, 0)
    assert long.is_open(begins + timedelta(hours=23, minutes=59))
    assert not long.is_open(begins + timedelta(hours=24))


def test_windows_longer_than_their_distance_are_always_open() -> None:
    always = Schedule(cron="*/30 * * * *", hours=1)
    assert all(always.is_open(datetime(2026, 6, 1, tzinfo=UTC) + timedelta(seconds=7 * n)) for n in range(1_000))


def test_a_rare_day_is_found() -> None:
    leap = Schedule(cron="0 0 29 2 *", hours=1)
    assert leap.is_open(datetime(2028, 2, 29, 0, 30, tzinfo=UTC))
    assert not leap.is_open(datetime(2026, 3, 1, 0, 30, tzinfo=UTC))


def test_the_most_of_all_open_windows_counts() -> None:
    evening = Schedule(cron="0 16 * * *", hours=4, minimum=5, time_zone="Europe/Berlin")
    both = (WEEKDAYS, evening)
    assert [scheduled_minimum(both, berlin(6, 1, hour)) for hour in (7, 9, 17, 19, 21)] == [0, 2, 5, 5, 0]
    assert scheduled_minimum((), berlin(6, 1, 9)) == 0


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        ({"cron": "0 8 * *"}, "cron", "minute, hour, day of month, month and day of week: 0 8 * * mon-fri (it has 4"),
        ({"cron": "0 0 8 * * mon"}, "cron", "it has 6 fields"),
        ({"cron": "0 25 * * *"}, "cron", "Bad hour"),
        ({"cron": "0 8 * * mon-someday"}, "cron", "Bad day-of-week"),
        ({"cron": "0 8 31 2 *"}, "cron", "Bad day-of-month"),
        ({"cron": "0 0 */20 * 1L"}, "cron", "never comes"),
        ({"cron": "0 " * 51}, "cron", "at most 100"),
        ({"time_zone": "Europe/Berlim"}, "time_zone", "is no time zone that this machine knows"),
        ({"time_zone": "../../etc/passwd"}, "time_zone", "is no time zone"),
        ({"time_zone": "Europe"}, "time_zone", "is no time zone"),
        ({"time_zone": ""}, "time_zone", "is no time zone"),
        ({"hours": 0}, "hours", "greater than 0"),
        ({"hours": 169}, "hours", "less than or equal to 168"),
        ({"minimum": 0}, "minimum", "greater than or equal to 1"),
        ({"zone": "UTC"}, "zone", "not permitted"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(wrong: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Schedule.model_validate({"cron": "0 8 * * *", "hours": 1, **wrong})
    [error] = refused.value.errors()
    assert error["loc"] == (field,)
    assert reason in error["msg"]
