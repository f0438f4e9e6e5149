"""Encodes a ThumbHash: a photo's blurred placeholder in about 25 bytes, to be shown while the photo itself loads.

Written from the format's description (https://evanw.github.io/thumbhash/). The picture becomes luminance (L),
yellow against blue (P), red against green (Q) and alpha (A); of each only the lowest frequencies of its
cosine transform are kept, in a triangle, as 4-bit numbers relative to the channel's largest. Layout,
little-endian:

==============  ==============================================================================
24 bits         L average (6), P average (6), Q average (6), L scale (5), is there alpha (1)
16 bits         L's size along the shorter side (3), P scale (6), Q scale (6), is it landscape (1)
8 bits          with alpha only: A average (4), A scale (4)
4 bits each     the frequencies of L, P, Q and, with alpha, A
==============  ==============================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from operator import mul

MAX_SIDE = 100
"""Pixels. More would cost time and change nothing that can be seen."""


@dataclass(frozen=True, slots=True)
class _Channel:
    average: float
    scale: float
    frequencies: list[int]
    """4 bits each."""


def encode(width: int, height: int, rgba: bytes) -> bytes:
    """Return the hash of a picture of at most ``MAX_SIDE`` pixels a side; ``rgba`` as ``pictures.rgba`` gives
    it.
    """
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and len(rgba) == 4 * width * height):
        raise ValueError(f"a picture of {width} × {height} pixels in {len(rgba)} bytes")
    alpha = rgba[3::4]
    has_alpha = min(alpha) < 255
    nx, ny = _luminance_size(width, height, 5 if has_alpha else 7)
    luminance, p, q, a = _channels(rgba, has_alpha=has_alpha)
    channels = [
        _transform(luminance, width, height, max(3, nx), max(3, ny)),
        _transform(p, width, height, 3, 3),
        _transform(q, width, height, 3, 3),
    ]
    if has_alpha:
        channels.append(_transform(a, width, height, 5, 5))
    return _pack(channels, ny if width > height else nx, landscape=width > height)


def _luminance_size(width: int, height: int, limit: int) -> tuple[int, int]:
    longer = max(width, height)
    return max(1, _round(limit * width / longer)), max(1, _round(limit * height / longer))


def _channels(rgba: bytes, *, has_alpha: bool) -> tuple[list[float], list[float], list[float], list[float]]:
    """L, P, Q and A of each pixel, 0 to 1 (P and Q from -1). Transparent pixels are blended with the average colour."""
    red, green, blue = ([float(value) for value in rgba[at::4]] for at in range(3))
    alpha = [value / 255 for value in rgba[3::4]]
    if has_alpha:
        red, green, blue = (_over_average(values, alpha) for values in (red, green, blue))
    luminance = [(r + g + b) / 765 for r, g, b in zip(red, green, blue, strict=True)]
    p = [((r + g) / 2 - b) / 255 for r, g, b in zip(red, green, blue, strict=True)]
    q = [(r - g) / 255 for r, g in zip(red, green, strict=True)]
    return luminance, p, q, alpha


def _over_average(values: list[float], alpha: list[float]) -> list[float]:
    opaque = sum(alpha)
    average = sum(map(mul, values, alpha)) / opaque if opaque else 0.0
    return [average * (1 - a) + value * a for value, a in zip(values, alpha, strict=True)]


def _transform(values: list[float], width: int, height: int, nx: int, ny: int) -> _Channel:
    """Keep the frequencies below the diagonal of ``nx`` × ``ny``. Rows first: it costs less."""
    rows = [values[at : at + width] for at in range(0, len(values), width)]
    columns = [[sum(map(mul, row, wave)) for row in rows] for wave in _waves(width, nx)]
    pairs = _triangle(nx, ny)
    average, *others = (sum(map(mul, columns[x], _waves(height, ny)[y])) / (width * height) for x, y in pairs)
    scale = max(map(abs, others))
    return _Channel(average, scale, [_round(15 * (0.5 + 0.5 * value / scale)) if scale else 8 for value in others])


def _triangle(nx: int, ny: int) -> Iterator[tuple[int, int]]:
    for y in range(ny):
        for x in range(nx):
            if x * ny < nx * (ny - y):
                yield x, y


@lru_cache(maxsize=64)
def _waves(length: int, count: int) -> list[list[float]]:
    return [[math.cos(math.pi / length * n * (at + 0.5)) for at in range(length)] for n in range(count)]


def _pack(channels: list[_Channel], shorter: int, *, landscape: bool) -> bytes:
    luminance, p, q, *alpha = channels
    head = (
        _round(63 * luminance.average)
        | _round(31.5 + 31.5 * p.average) << 6
        | _round(31.5 + 31.5 * q.average) << 12
        | _round(31 * luminance.scale) << 18
        | bool(alpha) << 23
        | shorter << 24
        | _round(63 * p.scale) << 27
        | _round(63 * q.scale) << 33
        | landscape << 39
    )
    packed = bytearray(head.to_bytes(5, "little"))
    if alpha:
        packed.append(_round(15 * alpha[0].average) | _round(15 * alpha[0].scale) << 4)
    nibbles = [value for channel in channels for value in channel.frequencies]
    nibbles += [0] * (len(nibbles) % 2)
    packed += bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    return bytes(packed)


def _round(value: float) -> int:
    """Half up, as every other implementation does; Python's own rounds half to even."""
    return math.floor(value + 0.5)
