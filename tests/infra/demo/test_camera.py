from __future__ import annotations

import pytest
import pyvips

from infra.demo.camera import Camera
from workers.handlers.photo.metadata.exif import read_block
from workers.handlers.photo.metadata.model import PhotoMetadata

IMAGE = pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb")


def reread(stamped: pyvips.Image) -> PhotoMetadata:
    return read_block(pyvips.Image.new_from_buffer(stamped.jpegsave_buffer(), "").get("exif-data"))


def test_the_photo_handler_reads_the_camera_that_was_written() -> None:
    ours = Camera("2026-06-03T09:05:00", make="Acme", model="One", lens="50mm")
    read = reread(ours.stamp(IMAGE))
    written = {"make": "Acme", "model": "One", "lens": "50mm"}
    assert {"make": read.make, "model": read.model, "lens": read.lens} == ours.describe() == written


@pytest.mark.parametrize("offset", ["+08:00", "-03:30", ""])
def test_the_time_is_read_with_its_offset(offset: str) -> None:
    read = reread(Camera("2026-06-03T09:05:00", offset).stamp(IMAGE))
    assert read.captured_at == f"2026-06-03T09:05:00{offset}"


def test_every_photo_carries_a_position_and_the_original_stays_as_it_was() -> None:
    assert reread(Camera("2026-06-03T09:05:00").stamp(IMAGE)).place
    assert IMAGE.get_typeof("exif-ifd0-Make") == 0
