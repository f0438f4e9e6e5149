"""Computes the dominant colour of a photo."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter

_COARSE = bytes(value & 0xE0 for value in range(256))
_VISIBLE = 128


def dominant(rgba: bytes) -> str:
    """Return the mean colour of the fullest of 8 × 8 × 8 cells of the colour cube, as ``#rrggbb``.

    ``rgba`` has 4 bytes a pixel. Pixels that are less than half opaque do not count; ``#000000`` if that leaves none.
    """
    pixels = [
        pixel for pixel in zip(rgba[0::4], rgba[1::4], rgba[2::4], rgba[3::4], strict=True) if pixel[3] >= _VISIBLE
    ]
    if not pixels:
        return "#000000"
    cells = Counter((_COARSE[r], _COARSE[g], _COARSE[b]) for r, g, b, _ in pixels)
    # Not most_common: it imports a module, in the process of each file.
    cell, count = max(cells.items(), key=itemgetter(1))
    inside = [pixel for pixel in pixels if (_COARSE[pixel[0]], _COARSE[pixel[1]], _COARSE[pixel[2]]) == cell]
    red, green, blue = (round(sum(pixel[band] for pixel in inside) / count) for band in range(3))
    return f"#{red:02x}{green:02x}{blue:02x}"
