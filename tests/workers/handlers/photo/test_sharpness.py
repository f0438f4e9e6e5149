"""How sharp a photo is."""

from __future__ import annotations

import pytest
import pyvips

from tests.workers.handlers.photo.samples import quadrants, solid
from workers.handlers.photo.sharpness import sharpness


def test_blur_takes_sharpness_away() -> None:
    noise = pyvips.Image.gaussnoise(200, 150, sigma=20, mean=128, seed=1).cast("uchar").copy(interpretation="b-w")
    sharp, soft, softer = (sharpness(image) for image in (noise, noise.gaussblur(1), noise.gaussblur(3)))
    assert sharp > 10 * soft > 20 * softer


def test_one_colour_has_none_and_the_figure_is_that_of_the_definition() -> None:
    assert sharpness(solid((10, 20, 30), 50, 40)) == 0
    pixels = pyvips.Image.new_from_list([[0, 0, 0], [0, 100, 0], [0, 0, 0]]).cast("uchar").copy(interpretation="b-w")
    values = [0, 100, 0, 100, -400, 100, 0, 100, 0]
    mean = sum(values) / 9
    assert sharpness(pixels) == pytest.approx(sum((value - mean) ** 2 for value in values) / 8)


def test_what_is_transparent_has_no_edges() -> None:
    clear = quadrants().bandjoin(0).copy(interpretation="srgb")
    assert sharpness(clear) == 0
