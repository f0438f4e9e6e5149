"""PDQ hashes: a copy has nearly the same, another photo has not."""

from __future__ import annotations

import pytest
import pyvips

from tests.workers.handlers.photo.samples import quadrants
from workers.handlers.photo.pdq import pdq_hash

pytest.importorskip("pdqhash", reason="needs the extra pdq, which takes a C++ compiler")


def photo(seed: int) -> pyvips.Image:
    bands = [pyvips.Image.perlin(480, 360, cell_size=64, seed=seed + n) * 90 + 128 for n in range(3)]
    return bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb")


def distance(one: pyvips.Image, other: pyvips.Image) -> int:
    hashes = [int(pdq_hash(image).hash, 16) for image in (one, other)]
    return (hashes[0] ^ hashes[1]).bit_count()


def test_a_copy_is_found_and_another_photo_is_not() -> None:
    original = photo(1)
    compressed = pyvips.Image.new_from_buffer(original.resize(0.5).jpegsave_buffer(Q=40), "")
    assert distance(original, compressed) <= 31
    assert distance(original, original.bandjoin(255).copy(interpretation="srgb")) <= 31
    assert distance(original, photo(100)) > 80


def test_a_picture_without_detail_has_a_low_quality() -> None:
    assert pdq_hash(photo(1)).quality >= 50
    assert pdq_hash(quadrants(4, 4)).quality < 50
    assert len(pdq_hash(photo(1)).hash) == 64
