"""Formats numbers, amounts, sizes, lengths of time and keys for the page."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal

from pydantic import JsonValue

from webhook.visible_text import escaped

_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))
_BYTES = ("B", "kB", "MB", "GB", "TB")
_FINE_USD = Decimal("0.1")
_MOST_SHOWN = 200


def number(value: float) -> str:
    """A count with separators: ``12,345``."""
    return f"{value:,.0f}"


def counted(count: int, what: str) -> str:
    """A count of things with their name: ``1 object``, ``2 objects``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def rate(per_second: float | None) -> str:
    """Files a second; what is slower than one in ten seconds is said by the minute. None: not known yet."""
    if per_second is None:
        return "–"
    if not per_second:
        return "0/s"
    if per_second >= 10:
        return f"{per_second:,.0f}/s"
    return f"{per_second:.1f}/s" if per_second >= 0.1 else f"{per_second * 60:.1f}/min"


def span(seconds: float | None) -> str:
    """A length of time in the largest unit, tenths of a second below ten: ``3 h``, ``0.4 s``. None: a dash."""
    if seconds is None:
        return "–"
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(seconds, 0):.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def usd(amount: Decimal | None) -> str:
    """An amount in US dollars, to the cent, below ten cents to a hundredth of one. None: a dash."""
    if amount is None:
        return "–"
    return f"${amount:,.4f}" if 0 < amount < _FINE_USD else f"${amount:,.2f}"


def size(count: int | None) -> str:
    """A size in bytes, in the largest decimal unit. None: a dash."""
    if count is None:
        return "–"
    value, unit = float(count), 0
    while value >= 999.95 and unit < len(_BYTES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_BYTES[unit]}" if unit == 0 else f"{value:.1f} {_BYTES[unit]}"


def moment(at: datetime | str | None) -> str:
    """A moment to the second, in UTC. None: a dash."""
    if at is None:
        return "–"
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    return at.strftime("%Y-%m-%d %H:%M:%S")


def shown(text: str, most: int = _MOST_SHOWN) -> str:
    """A text from outside in one line: what acts on a screen is written out, and the middle of a long one left out."""
    line = escaped(text, kept="")
    if len(line) <= most:
        return line
    half = (most - 1) // 2
    return f"{line[:half]}…{line[-half:]}"


def json_text(value: JsonValue) -> str:
    """A setting as JSON, in one line."""
    return json.dumps(value, ensure_ascii=False)


def file_name(key: str) -> str:
    """The last part of a key, as `shown`; a key that ends in a slash is shown whole."""
    return shown(key.rpartition("/")[2] or key, 60)


FILTERS = {
    "number": number,
    "rate": rate,
    "span": span,
    "usd": usd,
    "size": size,
    "moment": moment,
    "shown": shown,
    "log": escaped,
    "json": json_text,
    "file_name": file_name,
}
"""By their names in templates."""
