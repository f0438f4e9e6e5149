"""Numbers, amounts, sizes, lengths of time and keys as the page shows them."""

from __future__ import annotations

from decimal import Decimal

from webhook.page.formats import file_name, moment, number, rate, shown, size, span, usd


def test_numbers() -> None:
    assert [number(0), number(12_345)] == ["0", "12,345"]
    assert [rate(None), rate(0), rate(123.4), rate(3.25), rate(0.05)] == ["–", "0/s", "123/s", "3.2/s", "3.0/min"]


def test_lengths_of_time() -> None:
    seconds = (None, -1, 0.44, 9.94, 9.96, 59.4, 60, 3_600, 90_000)
    assert [span(each) for each in seconds] == ["–", "0.0 s", "0.4 s", "9.9 s", "10 s", "59 s", "1 min", "1 h", "1 d"]


def test_amounts() -> None:
    amounts = (None, Decimal(0), Decimal("0.0123"), Decimal("0.1"), Decimal("1234.567"))
    assert [usd(each) for each in amounts] == ["–", "$0.00", "$0.0123", "$0.10", "$1,234.57"]


def test_sizes() -> None:
    sizes = (None, 0, 999, 1_000, 999_960, 5_000_000_000_000_000)
    assert [size(each) for each in sizes] == ["–", "0 B", "999 B", "1.0 kB", "1.0 MB", "5000.0 TB"]


def test_moments_are_in_utc_to_the_second() -> None:
    assert moment("2026-05-15T10:30:00.123456+00:00") == "2026-05-15 10:30:00"
    assert moment(None) == "–"


def test_texts_from_outside_are_one_line_without_what_acts_on_a_screen() -> None:
    assert shown("a\nb\u202ec") == "a\\nb\\u202ec"
    assert shown("x" * 300, 11) == "xxxxx…xxxxx"
    assert file_name("uploads/2026/cat.jpg") == "cat.jpg"
    assert file_name("folder/") == "folder/"
