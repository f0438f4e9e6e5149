"""Photos for tests: four quadrants of different colours, so that every turn and every mirror shows."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pyvips

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 180, 30), (30, 30, 220), (230, 220, 30)
CORNERS = (RED, GREEN, BLUE, YELLOW)
"""Top left, top right, bottom left, bottom right."""


def quadrants(width: int = 120, height: int = 80) -> pyvips.Image:
    """The four colours, 8-bit sRGB."""
    tiles = [solid(colour, width // 2, height // 2) for colour in CORNERS]
    return pyvips.Image.arrayjoin(tiles, across=2).copy_memory()


def solid(colour: tuple[int, ...], width: int, height: int) -> pyvips.Image:
    """One colour everywhere."""
    image = pyvips.Image.black(width, height, bands=len(colour)) + list(colour)
    return image.cast("uchar").copy(interpretation="srgb")


def with_fields(image: pyvips.Image, **fields: str | int) -> pyvips.Image:
    """A copy with libvips' metadata fields; ``_`` in a name stands for ``-``."""
    tagged = image.copy()
    for name, value in fields.items():
        kind = pyvips.GValue.gint_type if isinstance(value, int) else pyvips.GValue.gstr_type
        tagged.set_type(kind, name.replace("_", "-"), value)
    return tagged


CAMERA = {
    "exif_ifd0_Make": "Canon (Japan) Inc",
    "exif_ifd0_Model": "EOS R5",
    "exif_ifd2_LensModel": "RF 50mm F1.2",
    "exif_ifd2_DateTimeOriginal": "2023:05:15 10:30:00",
    "exif_ifd2_OffsetTimeOriginal": "+02:00",
}
PLACE = {
    "exif_ifd3_GPSLatitude": "33/1 51/1 3600/100",
    "exif_ifd3_GPSLatitudeRef": "S",
    "exif_ifd3_GPSLongitude": "151/1 12/1 0/1",
    "exif_ifd3_GPSLongitudeRef": "E",
    "exif_ifd3_GPSAltitude": "345/10",
}


def corners(image: pyvips.Image) -> list[tuple[int, ...]]:
    """The named colour nearest to each corner's, in the order of ``CORNERS``."""
    x, y = image.width // 8, image.height // 8
    at = [(x, y), (image.width - 1 - x, y), (x, image.height - 1 - y), (image.width - 1 - x, image.height - 1 - y)]
    return [nearest(image(*position)) for position in at]


def nearest(pixel: list[float]) -> tuple[int, ...]:
    """The one of ``CORNERS`` that a pixel means."""
    return min(CORNERS, key=lambda colour: sum((a - b) ** 2 for a, b in zip(colour, pixel[:3], strict=True)))


def png_bomb(path: Path, width: int, height: int) -> None:
    """A PNG of one grey bit a pixel whose header states more pixels than fit into memory, in a small file."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    content = b"".join(pixels.compress(row) for _ in range(height)) + pixels.flush()
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, body in ((b"IHDR", header), (b"IDAT", content), (b"IEND", b"")):
            checksum = zlib.crc32(kind + body)
            file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum))
