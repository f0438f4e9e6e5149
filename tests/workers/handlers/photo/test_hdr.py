"""Pictures in other encodings as sRGB."""

from __future__ import annotations

import pytest
import pyvips

from workers.handlers.photo.colour_encoding import CodePoints, ColourEncoding
from workers.handlers.photo.hdr import to_srgb

PQ_WHITE = 0.5807
"""PQ's number for 203 cd/m² (ITU-R BT.2408, table 1)."""
PQ_1000 = 0.7518
HLG_WHITE = 0.75


def encoding(primaries: int, transfer: int) -> ColourEncoding:
    found = CodePoints(primaries, transfer).encoding()
    assert found is not None
    return found


def flat(*channels: float, deep: bool = True, side: int = 40) -> pyvips.Image:
    """One colour of numbers from 0 to 1."""
    full = 65_535 if deep else 255
    image = pyvips.Image.black(side, side, bands=len(channels)) + [round(value * full) for value in channels]
    kinds = {(True, True): "rgb16", (True, False): "grey16", (False, True): "srgb", (False, False): "b-w"}
    return image.cast("ushort" if deep else "uchar").copy(interpretation=kinds[deep, len(channels) >= 3])


@pytest.mark.parametrize(("transfer", "number"), [(16, PQ_WHITE), (18, HLG_WHITE)])
def test_reference_white_is_a_pages_white(transfer: int, number: float) -> None:
    white = to_srgb(flat(number, number, number), encoding(9, transfer))
    assert white(1, 1) == pytest.approx([255, 255, 255], abs=2)


@pytest.mark.parametrize(("transfer", "number"), [(16, 0.44), (18, 0.378)])
def test_a_dark_grey_keeps_its_light_beside_a_bright_highlight(transfer: int, number: float) -> None:
    grey = flat(number, number, number)
    alone = to_srgb(grey, encoding(9, transfer))(1, 1)[0]
    with_sun = grey.insert(flat(0.95, 0.95, 0.95, side=20), 20, 20)
    assert to_srgb(with_sun, encoding(9, transfer))(1, 1)[0] == pytest.approx(alone, abs=8)


def test_highlights_stay_apart() -> None:
    steps = [flat(number, number, number) for number in (PQ_WHITE, 0.65, PQ_1000)]
    row = to_srgb(pyvips.Image.arrayjoin(steps), encoding(9, 16))
    white, brighter, brightest = (row(x, 1)[0] for x in (1, 41, 81))
    assert 190 < white < brighter < brightest <= 255


def test_a_bright_colour_keeps_its_hue() -> None:
    red, green, blue = to_srgb(flat(PQ_1000, 0.40, 0.40), encoding(1, 16))(1, 1)
    assert red > 4 * green
    assert green == pytest.approx(blue, abs=1)


def test_display_p3() -> None:
    # The red of sRGB in Display P3.
    assert to_srgb(flat(0.9175, 0.2003, 0.1386, deep=False), encoding(12, 13))(1, 1) == pytest.approx(
        [255, 0, 0], abs=3
    )


def test_linear_grey_becomes_three_channels() -> None:
    assert to_srgb(flat(0.2140, deep=True), encoding(1, 8))(1, 1) == pytest.approx([127, 127, 127], abs=1)


@pytest.mark.parametrize("deep", [True, False])
def test_alpha_is_kept(deep: bool) -> None:
    image = to_srgb(flat(0.5, 0.5, 0.5, 0.25, deep=deep), encoding(12, 13))
    assert image.format == "uchar"
    assert image(1, 1)[3] == pytest.approx(64, abs=1)
