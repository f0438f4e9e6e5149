"""Splits a JSON document into the texts of its parts, byte for byte as they were sent.

For documents that are JSON only by a forgiving reading (half a surrogate pair, NaN, numbers of any length): they are
taken apart without being understood, so that only the part that cannot be read is refused. It ends early where there
are more parts than a notification has: splitting further would delay all other requests.
"""

from __future__ import annotations

import json
import re

MAX_MEMBERS = 100
"""Most members of an object. No notification's envelope has as many."""

_skip = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).raw_decode
"""Finds the end of a value. Numbers stay text: they are not used, and a long one takes long to convert."""
_blank = re.compile(r"[ \t\n\r]*").match


def members(text: str) -> dict[str, str]:
    """Return the text of each value of an object, by its name; of equal names the last.

    Raises:
        ValueError: it is no object, or has more members than an envelope.
        RecursionError: it is nested too deeply.

    """
    values: dict[str, str] = {}
    position, count = _opened(text, "{"), 0
    while position is not None:
        name, end = _skip(text, position)
        if not isinstance(name, str) or text[position] != '"':
            raise ValueError(f"there is no name at {position}")
        start = _after(text, _expected(text, end, ":"))
        _, end = _skip(text, start)
        values[name] = text[start:end]
        count += 1
        if count > MAX_MEMBERS:
            raise ValueError(f"more than {MAX_MEMBERS} members")
        position = _next(text, end, "}")
    return values


def elements(text: str, most: int) -> list[str]:
    """Return the text of each element of an array, up to one more than ``most``. Raises as ``members``."""
    parts: list[str] = []
    position = _opened(text, "[")
    while position is not None and len(parts) <= most:
        _, end = _skip(text, position)
        parts.append(text[position:end])
        position = _next(text, end, "]")
    return parts


def _after(text: str, position: int) -> int:
    """The position of the next character that is not blank."""
    match = _blank(text, position)
    return match.end() if match else position


def _expected(text: str, position: int, character: str) -> int:
    """The position behind a character that has to come next. Raises ValueError."""
    place = _after(text, position)
    if text[place : place + 1] != character:
        raise ValueError(f"{character} is missing at {place}")
    return place + 1


def _opened(text: str, bracket: str) -> int | None:
    """The position of the first part; None where there is none."""
    start = _after(text, _expected(text, 0, bracket))
    closing = {"{": "}", "[": "]"}[bracket]
    if text[start : start + 1] != closing:
        return start
    _check_end(text, start)
    return None


def _next(text: str, end: int, closing: str) -> int | None:
    """The position of the next part; None where that was the last."""
    position = _after(text, end)
    if text[position : position + 1] == closing:
        _check_end(text, position)
        return None
    return _after(text, _expected(text, position, ","))


def _check_end(text: str, closing: int) -> None:
    if _after(text, closing + 1) != len(text):
        raise ValueError(f"something follows its end at {closing}")
