from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from webhook.cli.duration import age, duration, span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604_800), ("2w", 1_209_600), ("1h30m", 5400), ("0s", 0)],
)
def test_a_duration_is_numbers_with_units(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1h 30m", "-1h", "1y", "1.5h", "١h", "1H", "1h\n", "9999999s"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 30m, 2h or 7d"):
        duration(text)


@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=59), "59 m"),
        (timedelta(hours=23), "23 h"),
        (timedelta(days=20), "20 d"),
        (timedelta(hours=-1), "0 s"),
    ],
)
def test_an_age_is_in_its_largest_whole_unit(ago: timedelta, shown: str) -> None:
    assert age((datetime.now(UTC) - ago).isoformat()) == shown


def test_a_length_of_time_is_in_its_largest_whole_unit() -> None:
    assert [span(seconds) for seconds in (0.4, 61, 7_300)] == ["0 s", "1 m", "2 h"]
