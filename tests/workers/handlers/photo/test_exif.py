"""EXIF, as cameras write it and as it may be forged."""

from __future__ import annotations

import pytest
import pyvips

from tests.workers.handlers.photo.samples import CAMERA, PLACE, jpeg_with_exif, quadrants, with_fields
from workers.handlers.photo.exif import MAX_CHARACTERS, camera, captured_at, gps


def stored(suffix: str = ".jpg", **fields: str | int) -> pyvips.Image:
    """Through a file, as libvips gives it back."""
    return pyvips.Image.new_from_buffer(with_fields(quadrants(), **fields).write_to_buffer(suffix), "")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
def test_everything_known(suffix: str) -> None:
    image = stored(suffix, **CAMERA, **PLACE)
    assert camera(image) == {"make": "Canon (Japan) Inc", "model": "EOS R5", "lens": "RF 50mm F1.2"}
    assert captured_at(image) == "2023-05-15T10:30:00+02:00"
    assert gps(image) == {"latitude": -33.86, "longitude": 151.2, "altitude": 34.5}


def test_nothing_known() -> None:
    image = quadrants()
    assert camera(image) == {"make": None, "model": None, "lens": None}
    assert captured_at(image) is None
    assert gps(image) is None


@pytest.mark.parametrize(
    ("taken", "offset", "expected"),
    [
        ("2023:05:15 10:30:00", "", "2023-05-15T10:30:00"),
        ("2023:05:15 10:30:00", "Z", "2023-05-15T10:30:00"),
        ("2023:05:15 10:30:00", "-09:30", "2023-05-15T10:30:00-09:30"),
        ("2023:05:15 10:30:00", "+99:99", None),
        ("0000:00:00 00:00:00", "+02:00", None),
        ("yesterday", "+02:00", None),
    ],
)
def test_times(taken: str, offset: str, expected: str | None) -> None:
    image = stored(exif_ifd2_DateTimeOriginal=taken, exif_ifd2_OffsetTimeOriginal=offset)
    assert captured_at(image) == expected


def test_strings_are_cleaned_and_bounded() -> None:
    image = with_fields(quadrants(), exif_ifd0_Make="A\x00\x1b[31m\nB\u202e" + "x" * 500)
    make = camera(image)["make"]
    assert isinstance(make, str)
    assert len(make) <= MAX_CHARACTERS
    assert make.isprintable()


@pytest.mark.parametrize(
    "changed",
    [
        {"exif_ifd3_GPSLatitude": "91/1 0/1 0/1"},
        {"exif_ifd3_GPSLatitude": "1/0 0/1 0/1"},
        {"exif_ifd3_GPSLatitude": "-1/1 0/1 0/1"},
        {"exif_ifd3_GPSLatitude": "1/1 0/1"},
        {"exif_ifd3_GPSLatitude": "north"},
        {"exif_ifd3_GPSLongitude": "181/1 0/1 0/1"},
    ],
)
def test_places_that_are_none(changed: dict[str, str]) -> None:
    assert gps(with_fields(quadrants(), **{**PLACE, **changed})) is None


@pytest.mark.parametrize(("reference", "altitude"), [(0, 34.5), (1, -34.5)])
def test_above_and_below_the_sea(reference: int, altitude: float) -> None:
    image = pyvips.Image.new_from_buffer(jpeg_with_exif(b"Can\xe9n\x07 (J)", reference), "")
    assert gps(image) == {"latitude": 10.0, "longitude": 10.0, "altitude": altitude}
    assert camera(image)["make"] == "Can\ufffdn (J)"
