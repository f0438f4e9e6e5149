"""Estimates the memory that decoding takes, and how much of it there is, before a pixel is decoded."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pyvips

from workers.handlers.photo.formats import Format

_RESERVE = 192 << 20
"""Bytes for everything beside the decoded picture: the smaller ones, libraries that load late."""
_UNLIMITED = 1 << 40
_WHOLE = {Format.HEIC: 7, Format.AVIF: 8, Format.WEBP: 8, Format.GIF: 8}
"""Bytes a pixel, measured, of decoders that hold the whole picture."""


def available() -> int:
    """Return how many bytes this process may still map for a picture; a terabyte where nothing limits it."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return _UNLIMITED
    return max(0, limit - _mapped() - _RESERVE)


def needed(kind: Format, header: pyvips.Image) -> int:
    """Return about how many bytes decoding takes; 0 where a decoder goes row by row."""
    depth = 2 if header.format in ("ushort", "short") else 1
    pixels = header.width * header.height
    if kind in _WHOLE:
        return int(pixels * _WHOLE[kind] * depth)
    if header.get_typeof("interlaced") and header.get("interlaced"):
        # PNG holds every row, progressive JPEG every coefficient, in 16 bits.
        return int(pixels * header.bands * 2)
    return 0


def _mapped() -> int:
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
