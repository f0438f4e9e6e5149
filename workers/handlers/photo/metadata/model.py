"""What is known about how a photo was taken."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CHARACTERS = 100
"""Of a camera's or a lens's name."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a photo was taken."""

    latitude: float
    """Degrees north, WGS 84."""
    longitude: float
    """Degrees east."""
    altitude: float | None = None
    """Metres above sea level."""


@dataclass(frozen=True, slots=True)
class PhotoMetadata:
    """Facts from one block of metadata, or from all of a file; None for each that is not known."""

    captured_at: str | None = None
    """ISO 8601: local time, with an offset from UTC where one is known; a date alone where no time is known."""
    make: str | None = None
    model: str | None = None
    lens: str | None = None
    place: Position | None = None

    def or_else(self, other: PhotoMetadata) -> PhotoMetadata:
        """Return these facts, and the other's for what is not known here."""
        return PhotoMetadata(
            self.captured_at or other.captured_at,
            self.make or other.make,
            self.model or other.model,
            self.lens or other.lens,
            self.place or other.place,
        )


def name(text: str) -> str | None:
    """Return a camera's or lens's name in printable characters and bounded; None where nothing is left of it."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 10 * MAX_CHARACTERS])
    return " ".join(printable.split())[:MAX_CHARACTERS].rstrip() or None
