"""Reads the chunks by which a PNG says what its numbers mean: ``cICP``, ``sRGB``, ``gAMA`` and ``cHRM``."""

from __future__ import annotations

import struct
from pathlib import Path

from workers.handlers.photo.colour_encoding import Chromaticities, CodePoints, ColourEncoding, from_gamma

_WANTED = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
_MAX_CHUNKS = 1_000
_UNIT = 100_000
"""The chunks hold integers: hundred-thousandths."""


def colour_encoding(path: Path, *, has_profile: bool) -> ColourEncoding | None:
    """Return how the colours are encoded; None for sRGB, or where an ICC profile says it.

    The order is that of the PNG specification, third edition, section 4.3.
    """
    chunks = _chunks(path)
    if len(chunks.get(b"cICP", b"")) == 4:
        return CodePoints(chunks[b"cICP"][0], chunks[b"cICP"][1]).encoding()
    if has_profile or b"sRGB" in chunks:
        return None
    gamma = int.from_bytes(chunks[b"gAMA"], "big") / _UNIT if b"gAMA" in chunks else None
    return from_gamma(gamma, _chromaticities(chunks.get(b"cHRM", b"")))


def _chunks(path: Path) -> dict[bytes, bytes]:
    """The wanted chunks; they stand before the pixels."""
    found: dict[bytes, bytes] = {}
    with path.open("rb") as file:
        file.seek(8)
        for _ in range(_MAX_CHUNKS):
            header = file.read(8)
            length, kind = int.from_bytes(header[:4], "big"), header[4:]
            if len(header) < 8 or kind in (b"IDAT", b"IEND"):
                break
            at = file.tell()
            if length == _WANTED.get(kind):
                found.setdefault(kind, file.read(length))
            file.seek(at + length + 4)
    return found


def _chromaticities(content: bytes) -> Chromaticities | None:
    if len(content) != 32:
        return None
    wx, wy, rx, ry, gx, gy, bx, by = (value / _UNIT for value in struct.unpack(">8I", content))
    return Chromaticities((rx, ry), (gx, gy), (bx, by), (wx, wy))
