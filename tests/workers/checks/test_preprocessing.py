"""What is done to a picture before a model sees it, compared with Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image

from workers.checks.preprocessing import Dimensions, Preprocessing, TargetSize


def preprocessing(**fields: Any) -> Preprocessing:
    return Preprocessing.model_validate({"size": {"height": 8, "width": 8}, **fields})


def detailed(width: int, height: int) -> NDArray[np.uint8]:
    """A picture with areas, edges and grain."""
    y, x = np.mgrid[0:height, 0:width]
    grain = np.random.default_rng(1).integers(0, 30, (height, width))
    bands = [x * 255 // width, y * 255 // height, np.where((x // 20 + y // 20) % 2, 200, 40)]
    return np.stack([np.clip(band * 0.85 + grain, 0, 255) for band in bands], axis=-1).astype(np.uint8)


def picture(pixels: NDArray[np.uint8]) -> pyvips.Image:
    return pyvips.Image.new_from_array(pixels, interpretation="srgb")


@pytest.mark.parametrize(
    ("size", "given", "made"),
    [
        ({"height": 30, "width": 20}, (400, 300), (20, 30)),
        ({"shortest_edge": 224}, (512, 384), (298, 224)),
        ({"shortest_edge": 224}, (384, 512), (224, 298)),
        ({"shortest_edge": 800, "longest_edge": 1333}, (2000, 500), (1333, 333)),
        ({"longest_edge": 100}, (400, 300), (100, 75)),
        ({"longest_edge": 100}, (1, 4000), (1, 100)),
        ({"shortest_edge": 224}, (224, 224), (224, 224)),
    ],
)
def test_sizes(size: dict[str, int], given: tuple[int, int], made: tuple[int, int]) -> None:
    assert TargetSize.model_validate(size).of(Dimensions(*given)) == Dimensions(*made)


@pytest.mark.parametrize("size", [{}, {"height": 8}, {"height": 8, "width": 8, "shortest_edge": 8}, {"depth": 3}])
def test_a_size_that_says_nothing_or_two_things_is_refused(size: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"shortest_edge|not permitted"):
        preprocessing(size=size)


@pytest.mark.parametrize(
    ("fields", "resized", "prepared"),
    [
        ({"size": 24}, (24, 24), (24, 24)),
        ({"size": 24, "do_center_crop": True, "crop_size": 16}, (32, 24), (16, 16)),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (341, 256), (224, 224)),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, 384), (384, 384)),
        ({"do_resize": False}, (400, 300), (400, 300)),
    ],
)
def test_older_ways_to_say_a_size(fields: dict[str, Any], resized: tuple[int, int], prepared: tuple[int, int]) -> None:
    made = preprocessing(**fields)
    assert made.resized(Dimensions(400, 300)) == Dimensions(*resized)
    assert made.prepared(Dimensions(400, 300)) == Dimensions(*prepared)


@pytest.mark.parametrize(
    ("resample", "filter_"),
    [
        (1, Image.Resampling.LANCZOS),
        (2, Image.Resampling.BILINEAR),
        (3, Image.Resampling.BICUBIC),
    ],
)
@pytest.mark.parametrize(("width", "height"), [(512, 384), (341, 512), (150, 100), (60, 45)])
def test_resizing_is_pillows(resample: int, filter_: Image.Resampling, width: int, height: int) -> None:
    pixels = detailed(width, height)
    made = preprocessing(size={"height": 112, "width": 96}, resample=resample).pixels(picture(pixels))
    wanted = np.asarray(Image.fromarray(pixels).resize((96, 112), filter_))
    difference = np.abs(made.astype(int) - wanted.astype(int))
    assert made.shape == (112, 96, 3)
    # libvips enlarges by no filter of Lanczos.
    assert difference.mean() < (4 if height < 112 and resample == 1 else 1)


def test_the_middle_is_seen() -> None:
    pixels = detailed(40, 20)
    made = preprocessing(do_resize=False, do_center_crop=True, crop_size=10).pixels(picture(pixels))
    assert (made == pixels[5:15, 15:25]).all()


def test_a_picture_smaller_than_the_crop_has_black_around_it() -> None:
    pixels = np.full((4, 20, 3), 200, np.uint8)
    made = preprocessing(do_resize=False, do_center_crop=True, crop_size=8).pixels(picture(pixels))
    assert made.shape == (8, 8, 3)
    assert made[:, 4, 0].tolist() == [0, 0, 200, 200, 200, 200, 0, 0]


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ({"do_rescale": False, "do_normalize": False}, 51),
        ({"do_normalize": False}, 0.2),
        ({}, -0.6),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5, "rescale_offset": True}, -0.6),
        ({"do_rescale": False, "image_mean": [127, 127, 127], "image_std": [128, 128, 128]}, (51 - 127) / 128),
    ],
)
def test_numbers(fields: dict[str, Any], number: float) -> None:
    made = preprocessing(**fields)
    pixels = made.pixels(picture(np.full((8, 8, 3), 51, np.uint8)))
    assert np.allclose(made.numbers(pixels), number, atol=1e-6)


def test_blue_first() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :, 0] = 255
    assert preprocessing(do_flip_channel_order=True).pixels(picture(pixels))[0, 0].tolist() == [0, 0, 255]


def test_grey_and_transparent_pictures_have_three_channels() -> None:
    grey = pyvips.Image.new_from_array(np.full((8, 8), 9, np.uint8), interpretation="b-w")
    clear = picture(np.zeros((8, 8, 3), np.uint8)).bandjoin(0)
    assert preprocessing().pixels(grey)[0, 0].tolist() == [9, 9, 9]
    assert preprocessing().pixels(clear)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"size": None}, "size is missing"),
        ({"size": {"height": 8, "width": 5_000}}, "less than or equal to 4096"),
        ({"do_center_crop": True}, "crop_size with height and width is missing"),
        ({"do_center_crop": True, "crop_size": {"shortest_edge": 8}}, "crop_size with height and width is missing"),
        ({"resample": 4}, "less than or equal to 3"),
        ({"image_std": [1, 0, 1]}, "none of it may be 0"),
        ({"image_mean": [1, 2]}, "image_mean"),
    ],
)
def test_what_cannot_be_done_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        preprocessing(**fields)
