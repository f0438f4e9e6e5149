"""Reads points in time as cameras and programs write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, timezone

MAX_CHARACTERS = 64
"""Of what is read as a time or an offset; none is as long."""

_TIME = re.compile(
    r"""
    (?P<year>\d{4}) [-:/.\ ]? (?P<month>\s?\d{1,2}) [-:/.\ ]? (?P<day>\s?\d{1,2})
    (?: (?P<between>T|:?\s+|:) (?P<clock>
            (?P<hour>\s?\d{1,2}) [:.]? (?P<minute>\s?\d{2}|(?<=[:.])\s?\d)
            (?: [:.]? (?P<second>\s?\d{2}|(?<=[:.])\s?\d) (?: [.,:] (?P<fraction>\d+) )? )?
            \s* (?P<half>[ap]\.?m\.?)?
            \s* (?P<offset>[a-z+\N{MINUS SIGN}-].*)?
    ) )?
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_OFFSET = re.compile(
    r"(?:UTC|GMT)?\s*(?P<sign>[+\N{MINUS SIGN}-])\s?(?P<hours>\d{1,2})(?::?(?P<minutes>[0-5]\d)(?::?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_UTC = frozenset({"Z", "UTC", "GMT"})
_MAX_OFFSET = timedelta(hours=14)
"""No place's local time is farther from UTC."""
_UNIX_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
_FIRST_YEAR = 1000
"""Scanned pictures are older than photography; below, a program wrote its zero."""
_BLANK_CLOCK = re.compile(r"[\s:.]*")


def capture_time(text: str, sub_seconds: str = "", offsets: Iterable[str] = ()) -> str | None:
    """Return a time in ISO 8601; None where the text is none.

    ``text`` is EXIF's ``2024:05:04 16:41:42``, ISO 8601's, or one of the forms between them, with or without an
    offset; a time that is blank leaves the date. ``sub_seconds`` is a decimal fraction; ``offsets`` are from UTC, of
    which the first that is one is taken. Zeros and the first second of 1970 mean a clock that was not set.
    """
    text = text.replace("\0", " ").strip()[:MAX_CHARACTERS]
    found = _TIME.match(text)
    if not found:
        return None
    try:
        if found["clock"] is None:
            return _date_alone(found, text[found.end() :])
        if _BLANK_CLOCK.fullmatch(text[found.end() :]) is None:
            return None
        return _with_offset(_local(found, sub_seconds), [found["offset"] or "", *offsets])
    except (ValueError, OverflowError):
        return None


def _date_alone(found: re.Match[str], rest: str) -> str | None:
    if _BLANK_CLOCK.fullmatch(rest) is None or int(found["year"]) < _FIRST_YEAR:
        return None
    day = date(int(found["year"]), int(found["month"]), int(found["day"]))
    return None if day == _UNIX_EPOCH.date() else day.isoformat()


def _local(found: re.Match[str], sub_seconds: str) -> datetime:
    year, month, day, hour, minute = (int(found[part]) for part in ("year", "month", "day", "hour", "minute"))
    second = int(found["second"] or 0)
    if year < _FIRST_YEAR or hour > 24 or minute > 59 or second > 60:
        raise ValueError
    midnight = datetime(year, month, day)  # noqa: DTZ001
    fraction = _microseconds(found["fraction"] or sub_seconds)
    time = timedelta(hours=_hour(found, hour), minutes=minute, seconds=second, microseconds=fraction)
    if midnight == _UNIX_EPOCH and not time:
        raise ValueError
    return midnight + time


def _hour(found: re.Match[str], hour: int) -> int:
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError
        return hour % 12 + (12 if found["half"][0] in "pP" else 0)
    if hour < 24:
        return hour
    # ISO 8601-1:2005 ends a day with it. Phones write it for the first hour of the day that they name.
    is_end_of_day = found["between"] in ("T", "t") and int(found["minute"]) == int(found["second"] or 0) == 0
    return 24 if is_end_of_day else 0


def _microseconds(digits: str) -> int:
    digits = digits.replace("\0", " ").strip()[:MAX_CHARACTERS]
    return int(digits[:6].ljust(6, "0")) if digits.isascii() and digits.isdigit() else 0


def _with_offset(local: datetime, offsets: Iterable[str]) -> str:
    zone = next((zone for text in offsets if (zone := _zone(text))), None)
    precision = "seconds" if not local.microsecond else "microseconds" if local.microsecond % 1000 else "milliseconds"
    return local.replace(tzinfo=zone).isoformat(timespec=precision)


def _zone(text: str) -> timezone | None:
    text = text.replace("\0", " ").strip()[:MAX_CHARACTERS]
    if text.upper() in _UTC:
        return UTC
    found = _OFFSET.fullmatch(text)
    if not found:
        return None
    offset = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"] or 0))
    return timezone(offset if found["sign"] == "+" else -offset) if offset <= _MAX_OFFSET else None
