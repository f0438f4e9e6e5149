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
_LEAST = 96 << 20
"""Bytes that are tried whatever the limit: enough for a phone's photo. Where that fails the sandbox says so."""
_WHOLE = {Format.HEIC: 6, Format.AVIF: 17, Format.WEBP: 12, Format.GIF: 5}
"""Bytes a pixel of decoders that hold the whole picture, as measured: planes, their copies, and RGB."""


def available() -> int:
    """Return how many bytes this process may still map for a picture; a terabyte where nothing limits it."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return _UNLIMITED
    return max(_LEAST, limit - _mapped() - _RESERVE)


def needed(kind: Format, header: pyvips.Image) -> int:
    """Return about how many bytes decoding takes; 0 where a decoder goes row by row."""
    pixels = int(header.width * header.height)
    if kind in _WHOLE:
        return pixels * _WHOLE[kind]
    if not header.get_typeof("interlaced"):
        return 0
    if kind is Format.PNG:
        return pixels * int(header.bands) * (2 if header.format == "ushort" else 1)
    # A progressive JPEG's coefficients have 16 bits; two of its channels have a quarter of them by 4:2:0.
    is_halved = header.get_typeof("jpeg-chroma-subsample") and header.get("jpeg-chroma-subsample") == "4:2:0"
    return pixels * int(header.bands) * 2 // (2 if is_halved else 1)


def _mapped() -> int:
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
