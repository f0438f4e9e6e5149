"""Describes how numbers stand for colours where no ICC profile says it: code points of ITU-T H.273, or PNG's gamma.

HEIF and AVIF call them ``nclx``, PNG and ICC profiles ``cICP``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


class Transfer(StrEnum):
    """How a channel's number becomes light."""

    SRGB = "sRGB"
    """Of sRGB, and of the standards of television, whose pictures viewers show as if they were sRGB."""
    POWER = "power"
    PQ = "PQ"
    """SMPTE ST 2084, ITU-R BT.2100: absolute, up to 10,000 cd/m²."""
    HLG = "HLG"
    """ITU-R BT.2100, hybrid log-gamma."""


@dataclass(frozen=True, slots=True)
class Chromaticities:
    """CIE 1931 x and y of the three primaries and of white."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float] = (0.3127, 0.3290)


_BT709 = Chromaticities((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_ILLUMINANT_C = (0.310, 0.316)
_PRIMARIES = {  # ITU-T H.273, table 2
    4: Chromaticities((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _ILLUMINANT_C),
    5: Chromaticities((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: Chromaticities((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: Chromaticities((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    8: Chromaticities((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _ILLUMINANT_C),
    9: Chromaticities((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: Chromaticities((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: Chromaticities((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: Chromaticities((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
_TRANSFERS = {  # ITU-T H.273, table 3; what is not here is shown as sRGB
    4: (Transfer.POWER, 2.2),
    5: (Transfer.POWER, 2.8),
    8: (Transfer.POWER, 1.0),
    16: (Transfer.PQ, 1.0),
    18: (Transfer.HLG, 1.0),
}
_BRADFORD: Matrix = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
_NEARLY = 0.01
"""Writers of PNG round: 0.45 and 0.45455 both mean sRGB."""


@dataclass(frozen=True, slots=True)
class CodePoints:
    """Colour primaries and transfer characteristics of ITU-T H.273. The decoder has applied matrix and range."""

    primaries: int
    transfer: int

    @classmethod
    def from_nclx(cls, content: bytes) -> CodePoints:
        """Of an ``nclx`` box, behind its type: two big-endian numbers of 16 bits (ISO 14496-12, 12.1.5)."""
        return cls(int.from_bytes(content[:2], "big"), int.from_bytes(content[2:4], "big"))

    def encoding(self) -> ColourEncoding | None:
        """Return what has to be converted to sRGB; None where nothing has."""
        transfer, exponent = _TRANSFERS.get(self.transfer, (Transfer.SRGB, 1.0))
        if self.primaries not in _PRIMARIES and transfer is Transfer.SRGB:
            return None
        return ColourEncoding(_PRIMARIES.get(self.primaries, _BT709), transfer, exponent)


@dataclass(frozen=True, slots=True)
class ColourEncoding:
    """Primaries and transfer function of a picture that is not sRGB."""

    primaries: Chromaticities
    transfer: Transfer
    exponent: float = 1.0
    """Of ``Transfer.POWER``: light is the number to this power."""

    @property
    def is_hdr(self) -> bool:
        """Whether it goes beyond the white of a page."""
        return self.transfer in (Transfer.PQ, Transfer.HLG)

    def matrix(self) -> Matrix:
        """Linear light in these primaries to linear light in those of sRGB."""
        return _product(_inverse(_to_xyz(_BT709)), _product(_adaptation(self.primaries.white), _to_xyz(self.primaries)))


def from_gamma(gamma: float | None, primaries: Chromaticities | None) -> ColourEncoding | None:
    """Of PNG's ``gAMA`` (the exponent that encoded it) and ``cHRM``; None where they say sRGB, or nonsense."""
    if primaries is not None and (_is_degenerate(primaries) or _is_bt709(primaries)):
        primaries = None
    is_srgb = gamma is None or not 0.05 <= gamma <= 5 or abs(gamma - 1 / 2.2) < _NEARLY
    if is_srgb and primaries is None:
        return None
    if is_srgb or gamma is None:
        return ColourEncoding(primaries or _BT709, Transfer.SRGB)
    return ColourEncoding(primaries or _BT709, Transfer.POWER, 1 / gamma)


def _is_bt709(primaries: Chromaticities) -> bool:
    pairs = zip(_points(primaries), _points(_BT709), strict=True)
    return all(abs(a - b) < _NEARLY for one, other in pairs for a, b in zip(one, other, strict=True))


def _is_degenerate(primaries: Chromaticities) -> bool:
    """Whether they span no triangle with room inside, or lie where no colour is."""
    (rx, ry), (gx, gy), (bx, by), _ = points = _points(primaries)
    area = abs((gx - rx) * (by - ry) - (bx - rx) * (gy - ry)) / 2
    return area < 0.01 or any(not (0 <= x <= 1 and 0.001 <= y <= 1) for x, y in points)


def _points(primaries: Chromaticities) -> tuple[tuple[float, float], ...]:
    return primaries.red, primaries.green, primaries.blue, primaries.white


def _to_xyz(primaries: Chromaticities) -> Matrix:
    """Linear RGB to XYZ (SMPTE RP 177)."""
    columns = [_xyz(point) for point in (primaries.red, primaries.green, primaries.blue)]
    unscaled: Matrix = _matrix([[column[row] for column in columns] for row in range(3)])
    scale = _apply(_inverse(unscaled), _xyz(primaries.white))
    return _matrix([[row[at] * scale[at] for at in range(3)] for row in unscaled])


def _adaptation(white: tuple[float, float]) -> Matrix:
    """From one white to that of sRGB (Bradford)."""
    source, target = _apply(_BRADFORD, _xyz(white)), _apply(_BRADFORD, _xyz(_BT709.white))
    gains = _matrix([[target[at] / source[at] if row == at else 0.0 for at in range(3)] for row in range(3)])
    return _product(_inverse(_BRADFORD), _product(gains, _BRADFORD))


def _xyz(point: tuple[float, float]) -> tuple[float, float, float]:
    x, y = point
    return x / y, 1.0, (1 - x - y) / y


def _apply(matrix: Matrix, vector: tuple[float, float, float]) -> tuple[float, float, float]:
    first, second, third = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return first, second, third


def _product(one: Matrix, other: Matrix) -> Matrix:
    return _matrix([[sum(row[n] * other[n][at] for n in range(3)) for at in range(3)] for row in one])


def _inverse(matrix: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    cofactors = [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    determinant = a * cofactors[0][0] + b * cofactors[1][0] + c * cofactors[2][0]
    return _matrix([[value / determinant for value in row] for row in cofactors])


def _matrix(rows: list[list[float]]) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = rows
    return (a, b, c), (d, e, f), (g, h, i)
