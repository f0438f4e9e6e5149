"""Cursor of a paged listing, newest first: the time and the number of a page's last row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

PATTERN = r"^[0-9]{1,16}-[0-9]{1,18}$"
"""Pattern of a cursor as text: microseconds since 1970, and the row's number."""


class Cursor(NamedTuple):
    """Last row of a page: the next page has older rows only, so rows that are added meanwhile are not listed."""

    at: datetime
    id: int

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}-{self.id}"


def parse(text: str) -> Cursor:
    """Parse the text of a cursor, which must match ``PATTERN``."""
    micros, _, number = text.partition("-")
    return Cursor(_EPOCH + timedelta(microseconds=int(micros)), int(number))
