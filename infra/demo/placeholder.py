"""Decodes a ThumbHash into the small picture that an app shows while the photo loads.

Written from the format's description (https://evanw.github.io/thumbhash/). ``workers.handlers.photo.thumbhash``
encodes, and shows the layout of the bytes.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyvips

_SIDE = 32
"""Pixels of the longer side. A browser blurs them as it enlarges them."""
_SATURATION = 1.25
"""Restores some of the colour that 4-bit frequencies lose."""
_MOST_BYTES = 64
"""The longest hash has 25 bytes; with alpha 26."""


@dataclass(frozen=True, slots=True)
class _Waves:
    """One channel: its average, and how much of each wave, by its numbers of half periods across and down."""

    average: float
    parts: Sequence[tuple[int, int, float]]

    def at(self, x: float, y: float) -> float:
        """The value at a place, both from 0 to 1."""
        return self.average + sum(
            2 * part * math.cos(math.pi * across * x) * math.cos(math.pi * down * y)
            for across, down, part in self.parts
        )


def placeholder_png(thumbhash: str) -> bytes | None:
    """The picture of a ThumbHash in Base64 as PNG, 32 pixels on its longer side. None: it is no ThumbHash."""
    try:
        packed = base64.b64decode(thumbhash, validate=True)
        width, height, rgba = _decoded(packed[:_MOST_BYTES])
    except (binascii.Error, ValueError, IndexError):
        return None
    image = pyvips.Image.new_from_memory(rgba, width, height, 4, "uchar").copy(interpretation="srgb")
    return bytes(image.pngsave_buffer())


def _decoded(packed: bytes) -> tuple[int, int, bytes]:
    """Width, height and the pixels in RGBA. Raises IndexError where bytes are missing, ValueError where one is 0."""
    head = int.from_bytes(packed[:5], "little")
    has_alpha, landscape = bool(head >> 23 & 1), bool(head >> 39 & 1)
    shorter, longer = head >> 24 & 7, 5 if has_alpha else 7
    if len(packed) < 5 or not shorter:
        raise ValueError("not the beginning of a ThumbHash")
    nx, ny = (longer, shorter) if landscape else (shorter, longer)
    luminance, p, q, alpha = _channels(packed, head, nx, ny)
    width, height = max(1, round(_SIDE * min(1, nx / ny))), max(1, round(_SIDE * min(1, ny / nx)))
    pixels = bytearray()
    for row in range(height):
        for column in range(width):
            x, y = (column + 0.5) / width, (row + 0.5) / height
            pixels += _pixel(luminance.at(x, y), p.at(x, y), q.at(x, y), alpha.at(x, y))
    return width, height, bytes(pixels)


def _channels(packed: bytes, head: int, nx: int, ny: int) -> tuple[_Waves, _Waves, _Waves, _Waves]:
    """Luminance, yellow against blue, red against green, and alpha."""
    has_alpha = bool(head >> 23 & 1)
    nibbles = [nibble for byte in packed[5 + has_alpha :] for nibble in (byte & 15, byte >> 4)]
    scales = ((head >> 18 & 31) / 31, (head >> 27 & 63) / 63 * _SATURATION, (head >> 33 & 63) / 63 * _SATURATION)
    averages = ((head & 63) / 63, (head >> 6 & 63) / 31.5 - 1, (head >> 12 & 63) / 31.5 - 1)
    sizes = ((max(3, nx), max(3, ny)), (3, 3), (3, 3))
    at, read = 0, []
    for average, scale, size in zip(averages, scales, sizes, strict=True):
        pairs = _triangle(*size)
        read.append(_waves(average, scale, pairs, nibbles[at : at + len(pairs)]))
        at += len(pairs)
    luminance, p, q = read
    if not has_alpha:
        return luminance, p, q, _Waves(1.0, ())
    pairs = _triangle(5, 5)
    return luminance, p, q, _waves((packed[5] & 15) / 15, (packed[5] >> 4) / 15, pairs, nibbles[at : at + len(pairs)])


def _triangle(nx: int, ny: int) -> list[tuple[int, int]]:
    return [(x, y) for y in range(ny) for x in range(nx) if (x or y) and x * ny < nx * (ny - y)]


def _waves(average: float, scale: float, pairs: Sequence[tuple[int, int]], nibbles: Sequence[int]) -> _Waves:
    """One channel. Raises ValueError where the hash ends before it."""
    return _Waves(average, [(*pair, (nibble / 7.5 - 1) * scale) for pair, nibble in zip(pairs, nibbles, strict=True)])


def _pixel(luminance: float, p: float, q: float, alpha: float) -> bytes:
    blue = luminance - 2 / 3 * p
    red = (3 * luminance - blue + q) / 2
    return bytes(round(255 * min(1.0, max(0.0, value))) for value in (red, red - q, blue, alpha))
