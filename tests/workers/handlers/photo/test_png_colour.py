"""The colour chunks of PNG, and which of them goes before which."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.handlers.photo.png_samples import hundred_thousandths, png, with_chunks
from tests.workers.handlers.photo.samples import quadrants
from workers.handlers.photo.colour_encoding import CodePoints, ColourEncoding, Transfer
from workers.handlers.photo.png_colour import colour_encoding

LINEAR = {b"gAMA": hundred_thousandths(1.0)}
P3 = {b"cHRM": hundred_thousandths(0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)}
PQ = {b"cICP": bytes([9, 16, 0, 1])}


def read(folder: Path, chunks: dict[bytes, bytes], *, has_profile: bool = False) -> ColourEncoding | None:
    (folder / "input").write_bytes(with_chunks(png(quadrants()), chunks))
    return colour_encoding(folder / "input", has_profile=has_profile)


def test_gamma(tmp_path: Path) -> None:
    encoding = read(tmp_path, LINEAR)
    assert encoding is not None
    assert (encoding.transfer, encoding.exponent) == (Transfer.POWER, 1.0)


def test_primaries(tmp_path: Path) -> None:
    encoding = read(tmp_path, P3)
    assert encoding is not None
    assert (encoding.primaries.red, encoding.primaries.white) == ((0.68, 0.32), (0.3127, 0.3290))


@pytest.mark.parametrize(
    "chunks", [{}, {b"sRGB": b"\0"} | LINEAR | P3, {b"gAMA": b"\0\0"}, {b"cHRM": bytes(32)}], ids=str
)
def test_none(tmp_path: Path, chunks: dict[bytes, bytes]) -> None:
    assert read(tmp_path, chunks) is None


def test_a_profile_goes_before_gamma(tmp_path: Path) -> None:
    assert read(tmp_path, LINEAR, has_profile=True) is None


def test_code_points_go_before_all(tmp_path: Path) -> None:
    assert read(tmp_path, PQ | {b"sRGB": b"\0"} | LINEAR, has_profile=True) == CodePoints(9, 16).encoding()
