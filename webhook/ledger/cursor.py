"""Where the next page begins: a moment, and a row's number for those of one moment. Newest come first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

PATTERN = r"^[0-9]{1,16}-[0-9]{1,18}$"
"""Of a cursor as text: microseconds since 1970, and the row's number."""


class Cursor(NamedTuple):
    """The last row of a page: what follows is older. Rows that come to be later are never met on the way down."""

    at: datetime
    id: int

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}-{self.id}"


def parse(text: str) -> Cursor:
    """The cursor of a text that matches ``PATTERN``."""
    micros, _, number = text.partition("-")
    return Cursor(_EPOCH + timedelta(microseconds=int(micros)), int(number))
