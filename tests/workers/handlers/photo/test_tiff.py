"""Walking the directories of a TIFF."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.workers.handlers.photo.samples import quadrants
from tests.workers.handlers.photo.tiff_samples import Image, sensor, thumbnail
from tests.workers.handlers.photo.tiff_samples import tiff as tiff_file
from workers.handlers.photo import tiff


def read(folder: Path, content: bytes) -> list[tiff.Directory]:
    (folder / "input").write_bytes(content)
    return tiff.directories(folder / "input")


@pytest.mark.parametrize("order", ["<", ">"])
def test_pages_and_what_is_below_them(tmp_path: Path, order: str) -> None:
    first = thumbnail()
    first.below = [sensor(4_000, 3_000), sensor(70_000, 8)]
    found = read(tmp_path, tiff_file(first, sensor(100, 80), order=order))
    assert [directory.number(tiff.WIDTH) for directory in found] == [16, 4_000, 70_000, 100]
    assert found[0].values[tiff.BITS] == (8, 8, 8)
    assert found[0].number(999_999, default=7) == 7


@pytest.mark.parametrize("bigtiff", [False, True])
def test_as_libtiff_writes_it(tmp_path: Path, bigtiff: bool) -> None:
    content = bytes(quadrants(120, 80).tiffsave_buffer(bigtiff=bigtiff, keep="none"))
    (directory,) = read(tmp_path, content)
    assert (directory.number(tiff.WIDTH), directory.number(tiff.HEIGHT)) == (120, 80)
    start, count = directory.places[tiff.WIDTH]
    assert (content[start : start + 2], count) == (b"\x78\0", 1)


def test_a_circle_ends(tmp_path: Path) -> None:
    content = bytearray(tiff_file(Image({256: 5})))
    at = struct.unpack("<I", content[4:8])[0]
    content[-4:] = struct.pack("<I", at)
    assert [directory.number(tiff.WIDTH) for directory in read(tmp_path, bytes(content))] == [5]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff" + bytes(8),
        b"II*\0\x08\0\0\0" + bytes(8),
        b"MM\0+" + b"\xff" * 40,
        b"GIF89a" + bytes(20),
    ],
    ids=str,
)
def test_nothing_to_be_found(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == []


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    content = tiff_file(thumbnail(), sensor(4_000, 3_000))
    for at in range(len(content)):
        read(tmp_path, content[:at] + b"\xff" + content[at + 1 :])
