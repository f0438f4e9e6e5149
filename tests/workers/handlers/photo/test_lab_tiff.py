"""Lab TIFFs of 8 bits a channel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.handlers.photo.tiff_samples import Image, tiff
from workers.handlers.photo import lab_tiff, pictures
from workers.handlers.photo.lab_tiff import Lab
from workers.handlers.photo.options import PhotoOptions
from workers.handlers.photo.source import open_photo
from workers.handlers.photo.tiff import directories

# sRGB (220, 30, 30) in Lab of D50.
LIGHTNESS, A, B = 123, 69, 52


@pytest.mark.parametrize(("kind", "offset"), [(Lab.SIGNED, 0), (Lab.OFFSET, 128)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_colours(tmp_path: Path, kind: Lab, offset: int, order: str) -> None:
    pixels = bytes([LIGHTNESS, A + offset, B + offset]) * (16 * 12)
    tags: dict[int, int | tuple[int, ...]] = {256: 16, 257: 12, 258: (8, 8, 8), 259: 1, 262: int(kind), 277: 3, 278: 12}
    path = tmp_path / "input"
    path.write_bytes(tiff(Image(tags, pixels), order=order))
    assert lab_tiff.lab(directories(path)[0]) is kind
    picture = pictures.decode(open_photo(path, "a.tif", PhotoOptions()), 16)
    assert picture(3, 3) == pytest.approx([220, 30, 30], abs=6)


def test_no_lab(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(tiff(Image({256: 16, 258: (16, 16, 16), 262: 8})))
    assert lab_tiff.lab(directories(path)[0]) is None
