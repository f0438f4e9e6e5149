"""Reads EXIF: time, camera and place of a photo. No value is trusted: any program may have written it."""

from __future__ import annotations

import re
from datetime import datetime
from fractions import Fraction

import pyvips
from pydantic import JsonValue

MAX_CHARACTERS = 100
"""Of a camera's or a lens's name."""

_OFFSET = re.compile(r"^[+-]\d\d:\d\d$")
# libvips gives "value (value as text, type, 1 components, 12 bytes)". Of a text both are the same and may
# hold parentheses of their own; a number holds none.
_TEXT = re.compile(r"(.*) \(\1, \w+, \d+ components?, \d+ bytes\)", re.DOTALL)
_MAX_DESCRIPTION = 2_000


def captured_at(header: pyvips.Image) -> str | None:
    """Return when the photo was taken, ISO 8601; local time without an offset where the camera gave none."""
    taken = _text(header, "exif-ifd2-DateTimeOriginal")
    offset = _text(header, "exif-ifd2-OffsetTimeOriginal") or _text(header, "exif-ifd2-OffsetTime") or ""
    if taken is None:
        return None
    try:
        parsed = datetime.strptime(taken, "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007
        return datetime.fromisoformat(parsed.isoformat() + (offset if _OFFSET.match(offset) else "")).isoformat()
    except ValueError:
        return None


def camera(header: pyvips.Image) -> dict[str, JsonValue]:
    """Return make, model and lens, each None where unknown."""
    return {
        "make": _text(header, "exif-ifd0-Make"),
        "model": _text(header, "exif-ifd0-Model"),
        "lens": _text(header, "exif-ifd2-LensModel"),
    }


def gps(header: pyvips.Image) -> dict[str, JsonValue] | None:
    """Return where the photo was taken: WGS 84 degrees, and metres above sea level; None where not known."""
    latitude = _degrees(header, "Latitude", negative="S", at_most=90)
    longitude = _degrees(header, "Longitude", negative="W", at_most=180)
    if latitude is None or longitude is None:
        return None
    return {"latitude": latitude, "longitude": longitude, "altitude": _altitude(header)}


def _degrees(header: pyvips.Image, axis: str, *, negative: str, at_most: int) -> float | None:
    parts = _numbers(header, f"exif-ifd3-GPS{axis}")
    if len(parts) != 3:
        return None
    value = float(parts[0] + parts[1] / 60 + parts[2] / 3600)
    if not 0 <= value <= at_most:
        return None
    return round(-value if _text(header, f"exif-ifd3-GPS{axis}Ref") == negative else value, 6)


def _altitude(header: pyvips.Image) -> float | None:
    parts = _numbers(header, "exif-ifd3-GPSAltitude")
    if len(parts) != 1 or not 0 <= parts[0] < 100_000:
        return None
    below = _text(header, "exif-ifd3-GPSAltitudeRef") in ("1", "Sea level reference", "Below sea level")
    return round(float(-parts[0] if below else parts[0]), 1)


def _numbers(header: pyvips.Image, field: str) -> list[Fraction]:
    try:
        return [Fraction(part) for part in (_text(header, field) or "").split()]
    except (ValueError, ZeroDivisionError):
        return []


def _text(header: pyvips.Image, field: str) -> str | None:
    if not header.get_typeof(field):
        return None
    described = str(header.get(field))[:_MAX_DESCRIPTION]
    text = _TEXT.match(described)
    value = text[1] if text else described.partition(" (")[0]
    cleaned = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return cleaned[:MAX_CHARACTERS] or None
