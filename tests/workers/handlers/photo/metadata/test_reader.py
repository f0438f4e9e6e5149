"""What all metadata of a file say together."""

from __future__ import annotations

from pathlib import Path

import pytest
import pyvips

from tests.workers.handlers.photo.heif_samples import TURNED_HEIC
from tests.workers.handlers.photo.metadata_samples import (
    MAKE,
    MODEL,
    dataset,
    exif,
    exif_segment,
    jpeg,
    photoshop_segment,
    resource,
    taken,
    text,
    xmp,
    xmp_segment,
)
from tests.workers.handlers.photo.samples import CAMERA, PLACE, quadrants, with_fields
from tests.workers.handlers.photo.tiff_samples import preview, sensor, thumbnail, tiff
from workers.handlers.photo.metadata.model import PhotoMetadata, Position
from workers.handlers.photo.metadata.reader import read_metadata
from workers.handlers.photo.options import PhotoOptions
from workers.handlers.photo.source import open_photo


def known(folder: Path, content: bytes) -> PhotoMetadata:
    (folder / "input").write_bytes(content)
    photo = open_photo(folder / "input", "a.jpg", PhotoOptions())
    return read_metadata(photo.path, photo.format, photo.header, photo.preview)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
def test_everything_that_libvips_writes(tmp_path: Path, suffix: str) -> None:
    content = with_fields(quadrants(), **CAMERA, **PLACE).write_to_buffer(suffix)
    assert known(tmp_path, content) == PhotoMetadata(
        "2023-05-15T10:30:00+02:00", "Canon (Japan) Inc", "EOS R5", "RF 50mm F1.2", Position(-33.86, 151.2, 34.5)
    )


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".gif", ".tif"])
def test_nothing_known(tmp_path: Path, suffix: str) -> None:
    assert known(tmp_path, quadrants().write_to_buffer(suffix, keep="none")) == PhotoMetadata()


def test_heic(tmp_path: Path) -> None:
    assert known(tmp_path, TURNED_HEIC).make == "Acme"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".tif"])
def test_xmp_alone(tmp_path: Path, suffix: str) -> None:
    image = quadrants().copy()
    image.set_type(pyvips.GValue.blob_type, "xmp-data", xmp(tiff_Make="Acme"))
    assert known(tmp_path, image.write_to_buffer(suffix)).make == "Acme"


def test_exif_goes_before_xmp_and_xmp_before_iptc(tmp_path: Path) -> None:
    camera = exif_segment(exif({MAKE: text("Acme")}))
    packet = xmp_segment(xmp(tiff_Make="Other", photoshop_DateCreated="2019-12-24"))
    resources = photoshop_segment(resource(dataset(55, b"20200101")))
    assert known(tmp_path, jpeg(resources, packet, camera)) == PhotoMetadata("2019-12-24", "Acme")
    assert known(tmp_path, jpeg(resources, camera)) == PhotoMetadata("2020-01-01", "Acme")


def test_the_first_of_two_blocks_of_exif_goes_first(tmp_path: Path) -> None:
    blocks = [exif({MAKE: text("Acme")}), exif({MAKE: text("Other"), MODEL: text("One")}), b"damaged"]
    assert known(tmp_path, jpeg(*map(exif_segment, blocks))) == PhotoMetadata(None, "Acme", "One")


def test_a_raw_photo_has_its_own_and_those_of_its_preview(tmp_path: Path) -> None:
    image = preview(quadrants(320, 240))
    image.data = image.data[:2] + exif_segment(taken("2024:05:04 16:41:42")) + image.data[2:]
    content = tiff(thumbnail(), sensor(400, 300), image)
    assert known(tmp_path, content).captured_at == "2024-05-04T16:41:42"
