"""What numbers mean: code points, gamma, and matrices to sRGB."""

from __future__ import annotations

import pytest

from workers.handlers.photo.colour_encoding import Chromaticities, CodePoints, ColourEncoding, Transfer, from_gamma

BT709 = Chromaticities((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = Chromaticities((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))


@pytest.mark.parametrize("points", [(1, 13), (2, 2), (1, 1), (1, 6), (0, 0), (200, 200)])
def test_what_is_shown_as_it_is(points: tuple[int, int]) -> None:
    assert CodePoints(*points).encoding() is None


@pytest.mark.parametrize(
    ("points", "transfer", "is_hdr"),
    [
        ((9, 16), Transfer.PQ, True),
        ((9, 18), Transfer.HLG, True),
        ((12, 13), Transfer.SRGB, False),
        ((1, 8), Transfer.POWER, False),
    ],
)
def test_what_is_converted(points: tuple[int, int], transfer: Transfer, is_hdr: bool) -> None:
    encoding = CodePoints(*points).encoding()
    assert encoding is not None
    assert (encoding.transfer, encoding.is_hdr) == (transfer, is_hdr)


def test_nclx() -> None:
    assert CodePoints.from_nclx(b"\0\x0c\0\x0d\0\x06\x80") == CodePoints(12, 13)


def test_the_matrix_from_display_p3() -> None:
    encoding = CodePoints(12, 13).encoding()
    assert encoding is not None
    # CSS Color 4, section 18: display-p3 to linear sRGB.
    expected = ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979))
    for row, wanted in zip(encoding.matrix(), expected, strict=True):
        assert row == pytest.approx(wanted, abs=0.001)


@pytest.mark.parametrize("number", [4, 5, 6, 7, 8, 9, 11, 12, 22])
def test_white_stays_white(number: int) -> None:
    encoding = CodePoints(number, 13).encoding()
    assert encoding is not None
    assert [sum(row) for row in encoding.matrix()] == pytest.approx([1, 1, 1], abs=0.001)


@pytest.mark.parametrize("gamma", [None, 0.45455, 0.45, 0.0, 1000.0])
@pytest.mark.parametrize("primaries", [None, BT709, Chromaticities((0, 0), (0, 0), (0, 0), (0, 0))])
def test_srgb_and_nonsense_need_nothing(gamma: float | None, primaries: Chromaticities | None) -> None:
    assert from_gamma(gamma, primaries) is None


def test_gamma_and_primaries() -> None:
    assert from_gamma(1.0, None) == ColourEncoding(BT709, Transfer.POWER, 1.0)
    assert from_gamma(0.5, P3) == ColourEncoding(P3, Transfer.POWER, 2.0)
    assert from_gamma(0.45455, P3) == ColourEncoding(P3, Transfer.SRGB)
