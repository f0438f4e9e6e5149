"""Raw photos: which file is one, and which preview is taken."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
import pyvips

from tests.workers.handlers.photo.samples import quadrants
from tests.workers.handlers.photo.tiff_samples import Image, jpeg, preview, sensor, thumbnail, tiff
from workers.handlers import HandlerError
from workers.handlers.photo.raw import RawPhoto, read

LARGE, SMALL = quadrants(400, 300), quadrants(160, 120)


def found(folder: Path, content: bytes) -> RawPhoto | None:
    (folder / "input").write_bytes(content)
    return read(folder / "input")


def width(photo: RawPhoto | None) -> int:
    assert photo is not None
    return int(pyvips.Image.jpegload_buffer(photo.preview).width)


def first(orientation: int = 6, tags: dict[int, int] | None = None, below: list[Image] | None = None) -> Image:
    image = thumbnail()
    image.tags |= {274: orientation} | (tags or {})
    image.below = below or []
    return image


def in_strip(compression: int) -> Image:
    """A JPEG as DNG and CR2 hold it: as the only strip."""
    tags: dict[int, int | tuple[int, ...]] = {254: 1, 256: 400, 257: 300, 259: compression, 262: 6}
    return Image(tags, jpeg(LARGE))


PHASE_ONE = b"II*\0\0\0\0\0IIIITwaR"
CANON = b"II*\0\0\0\0\0CR\2\0\0\0\0\0"
LOSSLESS = jpeg(LARGE).replace(b"\xff\xc0", b"\xff\xc3")


def cr2(*slices: int) -> bytes:
    """As Canon writes it: a JPEG as the first image, and the sensor's last, whose size is in no tag of its own."""
    sensor_tags: dict[int, int | tuple[int, ...]] = {259: 6, 50_752: slices}
    first_tags = in_strip(6).tags | {274: 6}
    return tiff(Image(first_tags, jpeg(LARGE)), preview(SMALL), Image(sensor_tags, LOSSLESS), magic=CANON)


KINDS = {
    "DNG": tiff(first(tags={50706: 1}, below=[sensor(420, 320, 7), preview(SMALL), in_strip(7)])),
    "NEF": tiff(first(below=[sensor(420, 320, 34_713), preview(LARGE)]), order=">"),
    "ARW": tiff(first(below=[sensor(420, 320, 32_767)]), preview(SMALL), preview(LARGE)),
    "PEF": tiff(Image(sensor(420, 320, 65_535).tags | {274: 6}, b"\0" * 9), preview(SMALL), preview(LARGE), order=">"),
    "CR2": cr2(1, 300, 120),
    "ORF": tiff(Image(sensor(420, 320).tags | {274: 6}, b"\0" * 9), preview(LARGE), magic=b"IIRO"),
    "IIQ": tiff(Image(sensor(420, 320).tags | {262: 2, 274: 6}, b"\0" * 9), preview(LARGE), magic=PHASE_ONE),
    "a pattern of colours alone says it": tiff(
        Image(sensor(420, 320).tags | {262: 1, 274: 6, 33_421: (2, 2)}, b"\0" * 9), preview(LARGE)
    ),
    "a mosaic alone says it": tiff(first(below=[sensor(420, 320), preview(LARGE)])),
}


@pytest.mark.parametrize("content", KINDS.values(), ids=KINDS)
def test_the_largest_preview_is_taken(tmp_path: Path, content: bytes) -> None:
    photo = found(tmp_path, content)
    assert width(photo) == 400
    assert photo is not None
    assert photo.orientation == 6


def test_a_preview_that_has_been_turned_already(tmp_path: Path) -> None:
    photo = found(tmp_path, tiff(first(below=[sensor(420, 320, 34_713), preview(quadrants(300, 400))])))
    assert photo is not None
    assert photo.orientation == 0


def test_panasonic(tmp_path: Path) -> None:
    tags: dict[int, int | tuple[int, ...]] = {2: 420, 3: 320, 274: 8}
    content = bytearray(tiff(Image(tags, jpeg(LARGE), (0x2E, 0x2F)), magic=b"IIU\0"))
    # JpgFromRaw is one value of as many bytes as the JPEG has, not an offset and a length.
    entry = content.index(struct.pack("<HHI", 0x2E, 3, 1))
    offset = struct.unpack("<H", content[entry + 8 : entry + 10])[0]
    content[entry : entry + 12] = struct.pack("<HHII", 0x2E, 7, len(jpeg(LARGE)), offset)
    photo = found(tmp_path, bytes(content))
    assert width(photo) == 400
    assert photo is not None
    assert photo.orientation == 8


def fujifilm(image: pyvips.Image, sensor_width: int) -> bytes:
    content = jpeg(image)
    tags = struct.pack(">IHHHH", 1, 0x100, 4, sensor_width * 3 // 4, sensor_width)
    head = b"FUJIFILMCCD-RAW 0201FF383501".ljust(84, b"\0")
    return head + struct.pack(">4I", 100 + len(tags), len(content), 100, len(tags)) + tags + content


def test_fujifilm(tmp_path: Path) -> None:
    assert width(found(tmp_path, fujifilm(LARGE, 800))) == 400
    with pytest.raises(HandlerError, match=r"801 × 600 pixels, .* only 400 × 300"):
        found(tmp_path, fujifilm(LARGE, 801))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tiff(first(below=[sensor(420, 320)])), "no preview was found"),
        (tiff(first(below=[sensor(420, 320), preview(SMALL)])), "its largest preview has only 160 × 120"),
        (tiff(first(below=[sensor(420, 320), Image({254: 1, 259: 6}, b"\xff\xd8\xff\xd9", (513, 514))])), "no preview"),
        (b"FUJIFILMCCD-RAW ".ljust(90, b"\0"), "no preview"),
        (cr2(2, 300, 201), "801 × 300 pixels, and its largest preview has only 400 × 300"),
    ],
)
def test_a_raw_photo_without_a_good_preview(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(HandlerError, match=f"raw photo.*{words}.*export it as JPEG") as raised:
        found(tmp_path, content)
    assert (raised.value.reason, raised.value.retry) == ("unreadable", False)


def test_what_the_sensor_recorded_is_no_preview(tmp_path: Path) -> None:
    content = tiff(first(below=[Image(sensor(420, 320, 7).tags, LOSSLESS)]))
    with pytest.raises(HandlerError, match="no preview"):
        found(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        bytes(quadrants().tiffsave_buffer()),
        bytes(quadrants().tiffsave_buffer(compression="jpeg")),
        tiff(thumbnail()),
        b"GIF89a",
    ],
    ids=["plain", "JPEG inside", "thumbnail", "no TIFF"],
)
def test_no_raw_photo(tmp_path: Path, content: bytes) -> None:
    assert found(tmp_path, content) is None


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    content = KINDS["NEF"]
    for at in range(0, len(content), 7):
        with suppress(HandlerError):
            found(tmp_path, content[:at] + b"\xff" + content[at + 1 :])
