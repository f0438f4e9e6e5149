"""Decoding once, and making smaller pictures from that."""

from __future__ import annotations

from pathlib import Path

import pytest
import pyvips

from tests.workers.handlers.photo.samples import CORNERS, corners, quadrants, solid
from workers.handlers import HandlerError
from workers.handlers.photo import pictures
from workers.handlers.photo.options import PhotoOptions
from workers.handlers.photo.source import SourcePhoto, open_photo


def opened(folder: Path, image: pyvips.Image, suffix: str = ".png") -> SourcePhoto:
    path = folder / f"input{suffix}"
    image.write_to_file(str(path))
    return open_photo(path, f"a{suffix}", PhotoOptions())


@pytest.mark.parametrize(("size", "width"), [(60, 60), (120, 120), (500, 120)])
def test_a_picture_fits_into_its_box_and_is_never_enlarged(tmp_path: Path, size: int, width: int) -> None:
    picture = pictures.decode(opened(tmp_path, quadrants(120, 80)), size)
    assert picture.width == width
    assert corners(picture) == list(CORNERS)


def test_smaller_pictures_need_no_file_any_more(tmp_path: Path) -> None:
    photo = opened(tmp_path, quadrants(120, 80))
    largest = pictures.decode(photo, 120)
    photo.path.unlink()
    sizes = {size: picture.width for size, picture in pictures.smaller(largest, (64, 32)).items()}
    assert sizes == {64: 64, 32: 32}


def test_a_file_that_was_cut_after_it_was_opened(tmp_path: Path) -> None:
    photo = opened(tmp_path, quadrants(120, 80), ".jpg")
    photo.path.write_bytes(photo.path.read_bytes()[:700])
    with pytest.raises(HandlerError) as raised:
        pictures.decode(photo, 120)
    assert raised.value.reason == "unreadable"


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (solid((9, 8, 7), 2, 1), b"\x09\x08\x07\xff"),
        (solid((9, 8, 7, 6), 2, 1), b"\x09\x08\x07\x06"),
        (solid((5,), 2, 1).copy(interpretation="b-w"), b"\x05\x05\x05\xff"),
    ],
    ids=["opaque", "alpha", "grey"],
)
def test_pixels_are_four_bytes(image: pyvips.Image, pixel: bytes) -> None:
    assert pictures.rgba(image) == pixel * 2


def test_a_saved_picture_carries_no_profile(tmp_path: Path) -> None:
    tagged = quadrants().icc_transform("p3", input_profile="srgb")
    assert tagged.get_typeof("icc-profile-data")
    pictures.save(tagged, tmp_path / "a.webp", quality=80, effort=0)
    assert not pyvips.Image.new_from_file(str(tmp_path / "a.webp")).get_typeof("icc-profile-data")
