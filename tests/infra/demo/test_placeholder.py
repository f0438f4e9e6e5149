from __future__ import annotations

import base64

import pytest
import pyvips

from infra.demo.placeholder import placeholder_png
from tests.workers.handlers.photo.samples import quadrants, solid
from workers.handlers.photo.pictures import rgba
from workers.handlers.photo.thumbhash import encode


def shown(image: pyvips.Image) -> pyvips.Image:
    """What the placeholder of an image shows."""
    png = placeholder_png(base64.b64encode(encode(image.width, image.height, rgba(image))).decode())
    assert png
    return pyvips.Image.pngload_buffer(png)


@pytest.mark.parametrize(("width", "height", "size"), [(90, 60, (32, 23)), (60, 90, (23, 32)), (50, 50, (32, 32))])
def test_has_the_shape_of_the_photo(width: int, height: int, size: tuple[int, int]) -> None:
    picture = shown(solid((200, 40, 40), width, height))
    assert (picture.width, picture.height) == size


def test_has_the_colours_where_the_photo_has_them() -> None:
    picture = shown(quadrants(90, 90))
    original = quadrants(90, 90)
    for x, y in ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
        there = picture.getpoint(int(x * picture.width), int(y * picture.height))[:3]
        real = original.getpoint(int(x * 90), int(y * 90))[:3]
        assert max(abs(a - b) for a, b in zip(there, real, strict=True)) < 90, (x, y, there, real)
