"""HEIC by libheif, handed to libvips."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest

from tests.workers.handlers.photo.heif_grid import SIDE, TILE, grid
from tests.workers.handlers.photo.heif_samples import ALPHA_HEIC, HEIC, MIRRORED_HEIC, ODD_HEIC, PQ_HEIC, TURNED_HEIC
from tests.workers.handlers.photo.samples import BLUE, CORNERS, GREEN, RED, YELLOW, corners
from workers.handlers import HandlerError
from workers.handlers.photo import heic
from workers.handlers.photo.colour_encoding import CodePoints
from workers.handlers.photo.metadata.exif import read_block

PLENTY = 1 << 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "input"


@pytest.mark.parametrize(
    ("content", "size", "shown"),
    [
        (HEIC, (120, 80), CORNERS),
        (ODD_HEIC, (121, 81), CORNERS),
        (TURNED_HEIC, (80, 120), (BLUE, RED, YELLOW, GREEN)),
        (MIRRORED_HEIC, (120, 80), (GREEN, RED, YELLOW, BLUE)),
    ],
    ids=["plain", "odd", "turned", "mirrored"],
)
def test_pixels(path: Path, content: bytes, size: tuple[int, int], shown: tuple[tuple[int, ...], ...]) -> None:
    path.write_bytes(content)
    header = heic.open_header(path).image
    image = heic.decode(path, deep=False, memory_bytes=PLENTY)
    assert (image.width, image.height) == (header.width, header.height) == size
    assert (image.format, image.bands, image.interpretation) == ("uchar", 3, "srgb")
    assert corners(image) == list(shown)


@pytest.mark.parametrize(("turns", "size"), [(0, (768, 512)), (1, (512, 768)), (2, (768, 512)), (3, (512, 768))])
def test_a_grid_of_tiles_is_one_image(path: Path, turns: int, size: tuple[int, int]) -> None:
    path.write_bytes(TILE)
    tile = heic.decode(path, deep=False, memory_bytes=PLENTY).rot(f"d{-90 * turns % 360}")
    path.write_bytes(grid(TILE, 3, 2, SIDE, turns=turns))
    image, header = heic.decode(path, deep=False, memory_bytes=PLENTY), heic.open_header(path).image
    assert (image.width, image.height) == (header.width, header.height) == size
    assert header.get("n-pages") == 1
    last = image.crop(size[0] - SIDE, size[1] - SIDE, SIDE, SIDE)
    assert (last - tile).abs().max() <= 2


@pytest.mark.skipif(sys.platform != "linux", reason="RUSAGE_THREAD is of Linux")
def test_no_thread_beside_this_one(path: Path) -> None:
    path.write_bytes(grid(TILE, 4, 4, SIDE))
    whole, own = cpu_seconds(resource.RUSAGE_SELF), cpu_seconds(resource.RUSAGE_THREAD)
    heic.decode(path, deep=False, memory_bytes=PLENTY)
    whole, own = cpu_seconds(resource.RUSAGE_SELF) - whole, cpu_seconds(resource.RUSAGE_THREAD) - own
    assert whole - own < own


def cpu_seconds(scope: int) -> float:
    usage = resource.getrusage(scope)
    return usage.ru_utime + usage.ru_stime


def test_pixels_outlive_their_file(path: Path) -> None:
    path.write_bytes(HEIC)
    image = heic.decode(path, deep=False, memory_bytes=PLENTY).resize(2)
    path.unlink()
    assert corners(image) == list(CORNERS)


def test_alpha(path: Path) -> None:
    path.write_bytes(ALPHA_HEIC)
    image = heic.decode(path, deep=False, memory_bytes=PLENTY)
    assert heic.open_header(path).image.hasalpha()
    assert [round(image(x, y)[3] / 255) for x, y in ((10, 10), (10, 70))] == [0, 1]


def test_ten_bits(path: Path) -> None:
    path.write_bytes(PQ_HEIC)
    header = heic.open_header(path)
    image = heic.decode(path, deep=True, memory_bytes=PLENTY)
    assert (header.bits, header.code_points) == (10, CodePoints(9, 16))
    assert (image.format, image.interpretation) == ("ushort", "rgb16")
    assert 30_000 < image(10, 10)[0] < 38_055  # below PQ's number for white


@pytest.mark.parametrize("offset", [b"\0\0\0\6", b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_metadata_as_of_any_other_format_whatever_is_said_of_their_place(path: Path, offset: bytes) -> None:
    path.write_bytes(TURNED_HEIC.replace(b"\0\0\0\6Exif\0\0II", offset + b"Exif\0\0II"))
    header = heic.open_header(path).image
    assert read_block(header.get("exif-data")).make == "Acme"
    # The boxes have turned it: nothing is left to be done.
    assert header.get("orientation") == 1


def test_a_memory_limit(path: Path) -> None:
    path.write_bytes(HEIC)
    with pytest.raises(HandlerError) as raised:
        heic.decode(path, deep=False, memory_bytes=1_000)
    assert raised.value.reason == "too-large"


@pytest.mark.parametrize("content", [HEIC[:-1], HEIC[:-60], HEIC[:200], HEIC[:30], b"", b"\0" * 500], ids=len)
def test_a_damaged_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(HandlerError) as raised:
        heic.decode(path, deep=False, memory_bytes=PLENTY)
    assert (raised.value.reason, raised.value.retry) == ("unreadable", False)


def test_a_side_that_no_picture_has(path: Path) -> None:
    size = (120).to_bytes(4, "big") + (80).to_bytes(4, "big")
    path.write_bytes(HEIC.replace(size, (120).to_bytes(4, "big") + (1 << 30).to_bytes(4, "big")))
    with pytest.raises(HandlerError):
        heic.open_header(path)


def test_a_codec_that_is_not_read(path: Path) -> None:
    path.write_bytes(HEIC.replace(b"hvc1", b"vvc1"))
    with pytest.raises(HandlerError, match=r"of a kind that is not read here|damaged"):
        heic.decode(path, deep=False, memory_bytes=PLENTY)
