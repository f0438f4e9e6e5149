from __future__ import annotations

import pytest
import pyvips

from infra.demo import encoding
from infra.demo.sample_images import Colour, SampleImage, square_centres

IMAGE = SampleImage(120, 80, "ENCODING").draw()


def opened(content: bytes) -> pyvips.Image:
    return pyvips.Image.new_from_buffer(content, "")


@pytest.mark.parametrize(
    ("encode", "loader", "bands"),
    [
        (encoding.jpeg, "jpegload", 3),
        (encoding.progressive_jpeg, "jpegload", 3),
        (encoding.grey_jpeg, "jpegload", 1),
        (encoding.cmyk_jpeg, "jpegload", 4),
        (encoding.p3_jpeg, "jpegload", 3),
        (encoding.png, "pngload", 3),
        (encoding.png_16_bit, "pngload", 3),
        (encoding.webp, "webpload", 3),
        (encoding.avif, "heifload", 3),
        (encoding.tiff, "tiffload", 3),
    ],
)
def test_the_file_has_the_format_the_bands_and_the_size(encode: encoding.Encode, loader: str, bands: int) -> None:
    image = opened(encode(IMAGE))
    assert str(image.get("vips-loader")).startswith(loader)
    assert (image.width, image.height, image.bands) == (120, 80, bands)


def test_sixteen_bits_are_kept() -> None:
    assert opened(encoding.png_16_bit(IMAGE)).format == "ushort"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_viewer_that_obeys_the_orientation_shows_the_image(orientation: int) -> None:
    turned = encoding.turned_by(IMAGE, orientation)
    assert turned.get("orientation") == orientation
    upright = turned.autorot()
    assert upright.write_to_memory() == IMAGE.write_to_memory()
    assert (turned.width, turned.height) == ((120, 80) if orientation < 5 else (80, 120))


def test_an_animation_has_all_frames() -> None:
    image = opened(encoding.animated_gif([IMAGE, IMAGE.rot180(), IMAGE]))
    assert (image.get("n-pages"), image.width, image.height) == (3, 120, 80)


def test_a_window_is_transparent_in_the_middle_alone() -> None:
    image = encoding.with_window(IMAGE)
    assert image.getpoint(60, 40)[-1] == 0
    corner = square_centres(120, 80)[0]
    assert tuple(image.getpoint(*corner)) == (*Colour.RED.value, 255)
