from __future__ import annotations

import pytest
import pyvips

from infra.demo.sample_images import CORNERS, PALETTES, SampleImage, square_centres


@pytest.mark.parametrize(("width", "height"), [(480, 320), (320, 481), (120, 90), (1999, 601)])
def test_has_the_size_and_the_corners(width: int, height: int) -> None:
    image = SampleImage(width, height, "SIZE", PALETTES[1]).draw()
    assert (image.width, image.height, image.bands, image.format, image.interpretation) == (
        *(width, height),
        *(3, "uchar", "srgb"),
    )
    shown = [tuple(image.getpoint(x, y)) for x, y in square_centres(width, height)]
    assert shown == [colour.value for colour in CORNERS]


def test_the_seed_decides() -> None:
    def pixels(seed: int) -> bytes:
        return bytes(SampleImage(240, 160, "SEED", seed=seed).draw().write_to_memory())

    assert pixels(1) == pixels(1)
    assert pixels(1) != pixels(2)


def test_looks_like_a_photo() -> None:
    """Gradients and grain, not a handful of colours: what makes decoding and encoding cost what they do."""
    image = SampleImage(600, 400, "NOISE", PALETTES[2]).draw()
    packed = image[0].cast("uint") * 65536 + image[1] * 256 + image[2]
    values = memoryview(packed.cast("uint").write_to_memory()).cast("I")
    assert len(set(values)) > 10_000
    assert isinstance(image, pyvips.Image)
