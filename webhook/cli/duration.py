"""Parses durations such as ``2h``, and formats ages and lengths of time."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_WRITTEN = re.compile(r"([0-9]{1,6})([smhdw])")


def duration(text: str) -> float:
    """The type of an option: ``90s``, ``30m``, ``2h``, ``7d``, ``2w``, or several in a row, as seconds."""
    parts = _WRITTEN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise click.BadParameter(f"{text!r} is no duration: write 30m, 2h or 7d")
    return float(sum(int(number) * _UNITS[unit] for number, unit in parts))


def age(moment: str) -> str:
    """Format how long ago a moment in ISO 8601 was, in the largest whole unit: ``3 h``."""
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    return span(seconds)


def span(seconds: float) -> str:
    """Format a length of time in the largest whole unit: ``3 h``."""
    unit = next((unit for unit in "dhm" if seconds >= _UNITS[unit]), "s")
    return f"{int(seconds // _UNITS[unit])} {unit}"
