"""Decoding once, and making smaller pictures from that."""

from __future__ import annotations

from pathlib import Path

import pytest
import pyvips

from tests.workers.handlers.photo import tiff_samples
from tests.workers.handlers.photo.heif_samples import AVIF_SEQUENCE, HEIC, P3_AVIF, PQ_HEIC
from tests.workers.handlers.photo.png_samples import hundred_thousandths, png, with_chunks
from tests.workers.handlers.photo.samples import BLUE, CORNERS, RED, corners, quadrants, solid
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


@pytest.mark.parametrize("content", [HEIC, AVIF_SEQUENCE, PQ_HEIC, P3_AVIF], ids=["HEIC", "AVIF sequence", "PQ", "P3"])
def test_heif(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    picture = pictures.decode(open_photo(tmp_path / "a", "a", PhotoOptions()), 60)
    assert (picture.width, picture.height) == (60, 40)
    assert corners(picture) == list(CORNERS)
    assert picture(5, 5) == pytest.approx(RED, abs=8)


def test_linear_png(tmp_path: Path) -> None:
    linear = (quadrants().colourspace("scrgb") * 65_535).cast("ushort").copy(interpretation="rgb16")
    (tmp_path / "a").write_bytes(with_chunks(png(linear), {b"gAMA": hundred_thousandths(1.0)}))
    picture = pictures.decode(open_photo(tmp_path / "a", "a.png", PhotoOptions()), 60)
    assert picture(5, 5) == pytest.approx(RED, abs=3)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_rich_black_of_ink(tmp_path: Path, suffix: str) -> None:
    ink = solid((191, 173, 171, 230), 64, 64).copy(interpretation="cmyk")
    assert max(pictures.decode(opened(tmp_path, ink, suffix), 32)(5, 5)) < 16


def test_a_page_of_half_the_size_is_another_page(tmp_path: Path) -> None:
    red, blue = (tiff_samples.Image(page_tags(side), bytes(colour) * side * side) for side, colour in PAGES)
    (tmp_path / "a").write_bytes(tiff_samples.tiff(red, blue))
    picture = pictures.decode(open_photo(tmp_path / "a", "a.tif", PhotoOptions()), 16)
    assert picture(5, 5) == pytest.approx(RED, abs=2)


def test_numbers_of_32_bits(tmp_path: Path) -> None:
    deep = quadrants().cast("uint") * 0x1010101
    picture = pictures.decode(opened(tmp_path, deep.cast("uint").copy(interpretation="rgb"), ".tif"), 60)
    assert corners(picture) == list(CORNERS)


PAGES = ((256, RED), (128, BLUE))


def page_tags(side: int) -> dict[int, int | tuple[int, ...]]:
    return {256: side, 257: side, 258: (8, 8, 8), 259: 1, 262: 2, 277: 3, 278: side}


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
@pytest.mark.parametrize("factor", [3, 5, 9, 20])
def test_sizes_are_exact_however_much_the_decoder_shrinks(tmp_path: Path, suffix: str, factor: int) -> None:
    picture = pictures.decode(opened(tmp_path, quadrants(100 * factor + 1, 70 * factor), suffix), 100)
    assert (picture.width, picture.height) == (100, 70)
    assert corners(picture) == list(CORNERS)


def test_a_saved_picture_carries_no_profile(tmp_path: Path) -> None:
    tagged = quadrants().icc_transform("p3", input_profile="srgb")
    assert tagged.get_typeof("icc-profile-data")
    pictures.save(tagged, tmp_path / "a.webp", quality=80, effort=0)
    assert not pyvips.Image.new_from_file(str(tmp_path / "a.webp")).get_typeof("icc-profile-data")


def test_nothing_but_areas_of_colour_is_left_of_a_blurred_picture() -> None:
    stripes = pyvips.Image.arrayjoin([solid(c, 4, 90) for c in ((0, 0, 0), (255, 255, 255)) * 15], across=30)
    blurred = pictures.blurred(stripes.bandjoin(255).copy(interpretation="srgb"))
    assert (blurred.width, blurred.height, blurred.bands) == (120, 90, 4)
    assert blurred[0].deviate() < 25 < stripes[0].deviate()
    assert corners(pictures.blurred(quadrants())) == list(CORNERS)
