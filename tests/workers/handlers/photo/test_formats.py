"""Which format a file really has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.handlers.photo.heif_samples import HEIC
from tests.workers.handlers.photo.samples import quadrants
from workers.handlers import HandlerError
from workers.handlers.photo.formats import Format, identify


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        (".jpg", Format.JPEG),
        (".png", Format.PNG),
        (".webp", Format.WEBP),
        (".gif", Format.GIF),
        (".tif", Format.TIFF),
        (".avif", Format.AVIF),
    ],
)
def test_the_content_decides_not_the_name(tmp_path: Path, suffix: str, expected: Format) -> None:
    quadrants().write_to_file(str(tmp_path / f"a{suffix}"))
    assert identify(tmp_path / f"a{suffix}", "uploads/a.txt") is expected


def test_the_codec_goes_before_the_brand(tmp_path: Path) -> None:
    avif = bytes(quadrants().heifsave_buffer(compression="av1"))
    (tmp_path / "a").write_bytes(avif.replace(b"avif", b"heic"))
    (tmp_path / "b").write_bytes(HEIC.replace(b"ftypheic", b"ftypavif"))
    assert identify(tmp_path / "a", "a.heic") is Format.AVIF
    assert identify(tmp_path / "b", "b.avif") is Format.HEIC


@pytest.mark.parametrize("head", [b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW 0201"])
def test_raw_photos(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a").write_bytes(head + bytes(60))
    assert identify(tmp_path / "a", "a.orf") is Format.RAW


@pytest.mark.parametrize(
    ("brands", "expected"),
    [
        (b"mif1\0\0\0\0mif1avif", Format.AVIF),
        (b"heic\0\0\0\0mif1heic", Format.HEIC),
    ],
)
def test_brands(tmp_path: Path, brands: bytes, expected: Format) -> None:
    (tmp_path / "a").write_bytes((len(brands) + 8).to_bytes(4, "big") + b"ftyp" + brands)
    assert identify(tmp_path / "a", "a") is expected


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        ("Grüße\n".encode() * 200, "a/photo.JPG", "This file is named .jpg but holds text."),
        (b"x" + "ü".encode() * 300, "a.png", "is named .png but holds text."),
        (b"%PDF-1.7\n", "a.jpg", "is named .jpg but holds a PDF document."),
        (b"<?xml version='1.0'?><svg xmlns=''/>", "a.svg", "holds an SVG drawing."),
        (b"<!DOCTYPE html><html>", "a.png", "holds a web page."),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", "a.avif", "holds a video or a sound."),
        (b"\x00\x01\x02\xfe" * 20, "a.jpg", "holds something else than a photo."),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a.CR3", "holds a camera's raw photo of a kind that is not read"),
        (b"plain", "notes.txt", "This file holds text. Photos may be JPEG, PNG"),
        (b"plain", "a.j\x00\x1bpg", "This file holds text."),
    ],
)
def test_what_is_no_photo_is_named(tmp_path: Path, content: bytes, key: str, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(HandlerError) as raised:
        identify(tmp_path / "a", key)
    assert (raised.value.reason, raised.value.retry) == ("unreadable", False)
    assert message in raised.value.message


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(HandlerError) as raised:
        identify(tmp_path / "a", "a.jpg")
    assert (raised.value.reason, raised.value.message) == ("empty", "The file is empty.")
