"""Draws text in capitals of 5 × 7 dots: a fresh machine may have no font."""

from __future__ import annotations

import pyvips

_ROWS = 7
_COLUMNS = 5
_GAP = 1

# Seven rows of a letter from the top, five bits each, the leftmost dot the highest bit.
_LETTERS = {
    "A": "0e11111f111111",
    "B": "1e11111e11111e",
    "C": "0e11101010110e",
    "D": "1e11111111111e",
    "E": "1f10101e10101f",
    "F": "1f10101e101010",
    "G": "0e11101711110f",
    "H": "1111111f111111",
    "I": "0e04040404040e",
    "J": "0702020202120c",
    "K": "11121418141211",
    "L": "1010101010101f",
    "M": "111b1515111111",
    "N": "11191513111111",
    "O": "0e11111111110e",
    "P": "1e11111e101010",
    "Q": "0e11111115120d",
    "R": "1e11111e141211",
    "S": "0f10100e01011e",
    "T": "1f040404040404",
    "U": "1111111111110e",
    "V": "11111111110a04",
    "W": "11111115151b11",
    "X": "11110a040a1111",
    "Y": "11110a04040404",
    "Z": "1f01020408101f",
    "0": "0e11131519110e",
    "1": "040c040404040e",
    "2": "0e11010204081f",
    "3": "1f02040201110e",
    "4": "02060a121f0202",
    "5": "1f101e0101110e",
    "6": "0608101e11110e",
    "7": "1f010204080808",
    "8": "0e11110e11110e",
    "9": "0e11110f01020c",
    "-": "0000001f000000",
    "+": "0004041f040400",
    "%": "18190204081303",
    "/": "00010204081000",
    ".": "00000000000c0c",
    " ": "00000000000000",
}


def lettering(text: str, height: int) -> pyvips.Image:
    """Draw text: one band of 8 bits, 255 where there is ink, 0 elsewhere, at most ``height`` pixels high.

    Capitals, digits and `` -+%/.`` are drawn; any other character leaves a gap.
    """
    glyphs = [bytes.fromhex(_LETTERS.get(character, _LETTERS[" "])) for character in text.upper()]
    dots = bytes(dot for row in range(_ROWS) for glyph in glyphs for dot in _dots(glyph[row]))
    image = pyvips.Image.new_from_memory(dots, len(dots) // _ROWS, _ROWS, 1, "uchar")
    factor = max(1, height // _ROWS)
    return image.zoom(factor, factor).copy_memory()


def _dots(row: int) -> list[int]:
    """One row of a letter, and the gap after it."""
    return [255 * (row >> (_COLUMNS - 1 - column) & 1) for column in range(_COLUMNS)] + [0] * _GAP
