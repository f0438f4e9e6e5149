"""Parses HTTP headers of peers that may send anything: a value that cannot be read counts as absent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_SECONDS = 30.0
"""A peer's wish to wait longer is cut to this: a lease does not live for ever."""
_ETAG_LENGTH = 200


def plain_etag(value: str | None) -> str | None:
    """Return an ETag without its quotes and weak prefix; None when it is absent, too long or not printable."""
    etag = (value or "").strip().removeprefix("W/").removeprefix("w/").strip('"')
    return etag if 0 < len(etag) <= _ETAG_LENGTH and etag.isprintable() else None


def http_date(value: str | None) -> datetime | None:
    """Parse a date; it has a time zone, and whole seconds."""
    try:
        date = parsedate_to_datetime(value) if value else None
    except (ValueError, OverflowError):
        return None
    return date and date.replace(tzinfo=date.tzinfo or UTC)  # "-0000" is UTC, but parsed without a zone


def content_length(value: str | None) -> int | None:
    """Parse a ``Content-Length`` in bytes."""
    return int(value) if value and len(value) < 20 and value.isascii() and value.isdigit() else None


def retry_after_seconds(headers: Mapping[str, str], now: datetime | None = None) -> float:
    """Return the seconds of a ``Retry-After``, at most 30; 0 without one."""
    return min(asked_wait_seconds(headers.get("retry-after"), now) or 0.0, MAX_RETRY_AFTER_SECONDS)


def asked_wait_seconds(retry_after: str | None, now: datetime | None = None) -> float | None:
    """Parse a ``Retry-After`` (RFC 9110, 10.2.3: seconds or a date) into seconds from now, which may be many."""
    value = (retry_after or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    if (date := http_date(value)) is None:
        return None
    return max((date - (now or datetime.now(UTC))).total_seconds(), 0.0)
