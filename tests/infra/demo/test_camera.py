from __future__ import annotations

import pytest
import pyvips

from infra.demo.camera import Camera
from workers.handlers.photo.exif import camera, captured_at, gps

IMAGE = pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb")


def reread(stamped: pyvips.Image) -> pyvips.Image:
    return pyvips.Image.new_from_buffer(stamped.jpegsave_buffer(), "")


def test_the_photo_handler_reads_the_camera_that_was_written() -> None:
    ours = Camera("2026-06-03T09:05:00", make="Acme", model="One", lens="50mm")
    assert camera(reread(ours.stamp(IMAGE))) == ours.describe() == {"make": "Acme", "model": "One", "lens": "50mm"}


@pytest.mark.parametrize("offset", ["+08:00", "-03:30", ""])
def test_the_time_is_read_with_its_offset(offset: str) -> None:
    image = reread(Camera("2026-06-03T09:05:00", offset).stamp(IMAGE))
    assert captured_at(image) == f"2026-06-03T09:05:00{offset}"


def test_every_photo_carries_a_position_and_the_original_stays_as_it_was() -> None:
    assert gps(reread(Camera("2026-06-03T09:05:00").stamp(IMAGE)))
    assert IMAGE.get_typeof("exif-ifd0-Make") == 0
