"""Reads places as cameras and programs write them: degrees with an N, S, E or W, in numbers or in text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from workers.handlers.photo.metadata.model import Position

MAX_CHARACTERS = 100
_MAX_DIGITS = 30
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:/\d+)?", re.ASCII)
_HEMISPHERE = re.compile(r"(?<![a-z])[NSEW](?:orth|outh|ast|est)?(?![a-z])", re.IGNORECASE)
_MAX_ALTITUDE = 100_000
_SIXTIETHS = (1, 60, 3600)

Number = Fraction | None
"""A number; None for one that is not known: 0/0, NaN."""


@dataclass(frozen=True, slots=True)
class Angle:
    """A latitude or longitude as it was written."""

    numbers: Sequence[Number]
    """Degrees; degrees and minutes; or degrees, minutes and seconds."""
    reference: str = ""
    """The hemisphere: N, S, E, W, or a word for it; empty where none is given."""
    is_signed: bool = False
    """Whether the numbers could be below zero, so that none is needed."""


def place(latitude: Angle, longitude: Angle, altitude: float | None = None) -> Position | None:
    """Return the place; None where it is not known, outside the earth, or 0, 0: what programs write for no place."""
    north = _degrees(latitude, "NS", 90)
    east = _degrees(longitude, "EW", 180)
    if north is None or east is None or (north == 0 and east == 0):
        return None
    return Position(north, east, altitude)


def altitude(numbers: Sequence[Number], *, is_below: bool) -> float | None:
    """Return metres above sea level; None where they are not known, or beyond the air."""
    if len(numbers) != 1 or numbers[0] is None or abs(numbers[0]) >= _MAX_ALTITUDE:
        return None
    metres = float(numbers[0])
    return round(-abs(metres) if is_below else metres, 1)


def angle(text: str, reference: str = "") -> Angle:
    """Read XMP's ``26,34.951S`` and ``26,34,57S``, decimal degrees, and what people write."""
    text = text.replace("\0", " ").strip()[:MAX_CHARACTERS]
    hemisphere = _HEMISPHERE.search(text)
    return Angle(numbers(text), hemisphere[0] if hemisphere else reference, is_signed=True)


def numbers(text: str) -> list[Number]:
    """Return the decimal numbers and fractions in a text, three at most count."""
    found = _NUMBER.findall(text[:MAX_CHARACTERS])
    return [fraction(part) for part in found[:4]]


def fraction(text: str) -> Number:
    """Return a number that a text holds; None for one that has no value, or more digits than any has."""
    try:
        return Fraction(text) if len(text) <= _MAX_DIGITS and _NUMBER.fullmatch(text) else None
    except (ValueError, ZeroDivisionError):
        return None


def _degrees(angle: Angle, hemispheres: str, at_most: int) -> float | None:
    parts = _known(angle.numbers)
    if not 1 <= len(parts) <= 3 or any(not 0 <= part <= 60 for part in parts[1:]):
        return None
    size = sum((abs(part) / unit for part, unit in zip(parts, _SIXTIETHS, strict=False)), start=Fraction(0))
    sign = _sign(angle, hemispheres, is_negative=parts[0] < 0)
    return round(float(sign * size), 6) + 0.0 if sign and size <= at_most else None


def _known(parts: Sequence[Number]) -> list[Fraction]:
    """Minutes and seconds may be unknown: then the degrees are what is known. Unknown degrees are none."""
    known: list[Fraction] = []
    for part in parts:
        if part is None:
            break
        known.append(part)
    return known


def _sign(angle: Angle, hemispheres: str, *, is_negative: bool) -> int:
    """1, -1, or 0 where nothing tells which side of the earth is meant."""
    letter = angle.reference.replace("\0", " ").strip()[:1].upper()
    if letter == hemispheres[1] or is_negative:
        return -1
    return 1 if letter == hemispheres[0] or (angle.is_signed and not letter) else 0
