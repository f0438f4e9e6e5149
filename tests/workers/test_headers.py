from __future__ import annotations

from datetime import UTC, datetime

import pytest

from workers.headers import (
    MAX_RETRY_AFTER_SECONDS,
    asked_wait_seconds,
    content_length,
    http_date,
    plain_etag,
    retry_after_seconds,
)

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "etag"),
    [
        ('"abc"', "abc"),
        ("abc", "abc"),
        ('W/"abc"', "abc"),
        ('"abc-12"', "abc-12"),
        ('""', None),
        ("", None),
        (None, None),
        ('"' + "a" * 201 + '"', None),
        ('"a\x01"', None),
    ],
)
def test_etags_are_plain(header: str | None, etag: str | None) -> None:
    assert plain_etag(header) == etag


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("999999999999999999999", MAX_RETRY_AFTER_SECONDS),
        ("Wed, 04 Mar 2026 12:00:09 GMT", 9),
        ("Wed, 04 Mar 2026 11:00:00 GMT", 0),
        ("Wed, 04 Mar 2027 12:00:00 GMT", MAX_RETRY_AFTER_SECONDS),
        ("Wed, 04 Mar 2026 12:00:09 -0000", 9),
        ("-1", 0),
        ("1.5", 0),
        ("٣", 0),
        ("soon", 0),
        ("", 0),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after_seconds({"retry-after": value}, NOW) == seconds


def test_no_retry_after() -> None:
    assert retry_after_seconds({}) == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("9000", 9_000),
        ("Wed, 04 Mar 2026 13:00:00 GMT", 3_600),
        ("Wed, 04 Mar 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_to_ask_for_no_wait_is_not_to_ask(value: str | None, seconds: float | None) -> None:
    assert asked_wait_seconds(value, NOW) == seconds


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("Wed, 04 Mar 2026 12:00:00 GMT", NOW),
        ("Wed, 04 Mar 2026 12:00:00 -0000", NOW),
        ("Wed, 04 Mar 2026 13:00:00 +0100", NOW),
        ("Wed, 04 Mar 99999999999 12:00:00 GMT", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_dates_have_a_zone(value: str | None, date: datetime | None) -> None:
    assert http_date(value) == date


@pytest.mark.parametrize(
    ("value", "size"), [("0", 0), ("5497558138880", 5 << 40), ("-1", None), ("", None), ("9" * 20, None), ("٣", None)]
)
def test_lengths(value: str, size: int | None) -> None:
    assert content_length(value) == size
