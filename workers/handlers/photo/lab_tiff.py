"""Reads TIFFs in CIE L*a*b* of 8 bits a channel, which libvips 8.18 refuses: it takes them for a kind of its own.

The picture is decoded as if it were RGB, and its numbers are given their meaning afterwards.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

import pyvips

from workers.handlers import HandlerError
from workers.handlers.photo import tiff
from workers.handlers.photo.tiff import Directory

_RGB = 2
_MAX_BYTES = 512 << 20


class Lab(IntEnum):
    """PhotometricInterpretation: the two ways to write a* and b*."""

    SIGNED = 8
    """TIFF 6.0, section 23: two's complement."""
    OFFSET = 9
    """Adobe's TIFF Technical Notes: 128 is neutral, as in ICC profiles."""


def lab(directory: Directory) -> Lab | None:
    """Return the kind of 8-bit Lab; None for any other picture."""
    kind = directory.number(tiff.PHOTOMETRIC)
    return Lab(kind) if kind in tuple(Lab) and directory.number(tiff.BITS) == 8 else None


def as_rgb(path: Path, directory: Directory) -> bytes:
    """Return the file's bytes with RGB as its PhotometricInterpretation. Raises ``HandlerError``."""
    if path.stat().st_size > _MAX_BYTES:
        raise HandlerError("too-large", f"Of a TIFF in Lab colours at most {_MAX_BYTES >> 20:,} MiB are read.")
    content = bytearray(path.read_bytes())
    start, _ = directory.places[tiff.PHOTOMETRIC]
    content[start : start + 2] = _RGB.to_bytes(2, "little" if content[:2] == b"II" else "big")
    return bytes(content)


def unpacked(image: pyvips.Image, kind: Lab) -> pyvips.Image:
    """Return L*a*b* as numbers from 0 to 100 and from -128 to 127, without further channels."""
    lightness = image[0] * (100 / 255)
    axes = [image[1], image[2]]
    signed = [axis - 128 if kind is Lab.OFFSET else axis.copy(format="char") for axis in axes]
    unprofiled = lightness.bandjoin(signed).cast("float").copy(interpretation="lab")
    unprofiled.remove("icc-profile-data")
    return unprofiled
