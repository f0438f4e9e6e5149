"""Finds the preview in a camera's raw photo: a JPEG that the camera, or the program that wrote the file, developed.

What the sensor recorded is not developed here: its colours would not be those that the photographer saw.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from workers.handlers import HandlerError
from workers.handlers.photo import tiff
from workers.handlers.photo.tiff import Directory

_SENSOR_TAGS = frozenset({33421, 33422, 50706, 50752})
"""CFARepeatPatternDim, CFAPattern, DNGVersion, and how Canon slices a CR2."""
_PHASE_ONE = (b"IIII", b"MMMM")
_CR2_SLICES, _PANASONIC_JPEG, _PANASONIC_WIDTH, _PANASONIC_HEIGHT = 50752, 0x2E, 2, 3
_MOSAIC = frozenset({32803, 34892})
"""PhotometricInterpretation of what a sensor records: a colour filter array, LinearRaw."""
_RAW_COMPRESSIONS = frozenset({32767, 32769, 32770, 32867, 34713, 65000, 65535})
"""Of Sony, Epson, Samsung, Kodak, Nikon, Kodak, Pentax."""
_JPEG_COMPRESSIONS = frozenset({6, 7, 99, 34892})
_MAX_PREVIEW = 256 << 20
_MAX_SEGMENTS = 1_000
_SHOWN = frozenset({0xC0, 0xC1, 0xC2})
"""Start-of-frame markers of baseline, extended and progressive JPEG."""
_FRAMES = _SHOWN | {0xC3}
"""Those, and that of lossless JPEG, which holds what the sensor recorded."""
_SCAN = 0xDA
_FUJIFILM = b"FUJIFILMCCD-RAW "
_FUJIFILM_SIZE = 0x100
"""RAF's tag of the sensor's height and width."""


@dataclass(frozen=True, slots=True)
class _Jpeg:
    offset: int
    length: int
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Frame:
    marker: int
    bits: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class RawPhoto:
    """A raw photo's largest preview."""

    preview: bytes
    """A JPEG."""
    orientation: int
    """As the raw photo's own tags give it, for a preview without one: EXIF's 1–8; 0 where none is given, or where the
    preview has been turned already.
    """


def read(path: Path) -> RawPhoto | None:
    """Return the largest preview of a raw photo; None where the file is none.

    Raises ``HandlerError`` (``unreadable``) where no preview has half of the sensor's width.
    """
    with path.open("rb") as file:
        head = file.read(16)
        if head == _FUJIFILM:
            return _of_fujifilm(file)
        found = tiff.directories(path)
        if not _is_raw(head, found):
            return None
        previews = [jpeg for directory in found for jpeg in _jpegs(file, directory)]
        sensor = max((_sensor_size(file, directory) for directory in found), default=(0, 0), key=max)
        best = _largest(previews, sensor)
        orientation = 0 if _is_turned(best.size, sensor) else found[0].number(tiff.ORIENTATION)
        file.seek(best.offset)
        return RawPhoto(file.read(best.length), orientation)


def _is_raw(head: bytes, found: list[Directory]) -> bool:
    is_named = head[2:4] in (b"RO", b"RS", b"OR", b"U\0") or head[8:10] == b"CR" or head[8:12] in _PHASE_ONE
    return bool(found) and (is_named or any(_is_of_a_sensor(directory) for directory in found))


def _is_of_a_sensor(directory: Directory) -> bool:
    return (
        not directory.values.keys().isdisjoint(_SENSOR_TAGS)
        or directory.number(tiff.PHOTOMETRIC) in _MOSAIC
        or directory.number(tiff.COMPRESSION) in _RAW_COMPRESSIONS
    )


def _sensor_size(file: BinaryIO, directory: Directory) -> tuple[int, int]:
    """Of the image that is no preview; (0, 0) for a preview."""
    if slices := directory.values.get(_CR2_SLICES):
        return _sliced_size(file, directory, slices)
    if tiff.WIDTH not in directory.values and _PANASONIC_WIDTH in directory.values:
        return directory.number(_PANASONIC_WIDTH), directory.number(_PANASONIC_HEIGHT)
    is_recorded = (
        directory.number(tiff.PHOTOMETRIC) in _MOSAIC
        or directory.number(tiff.COMPRESSION) in _RAW_COMPRESSIONS
        or not directory.number(tiff.SUBFILE_TYPE)
    )
    return (directory.number(tiff.WIDTH), directory.number(tiff.HEIGHT)) if is_recorded else (0, 0)


def _sliced_size(file: BinaryIO, directory: Directory, slices: tuple[int, ...]) -> tuple[int, int]:
    """A CR2 says its sensor's size nowhere but in how it is coded: so many slices, their width, and the last one's."""
    frame = _frame(file, directory.number(tiff.STRIP_OFFSETS), directory.number(tiff.STRIP_BYTES))
    width = slices[0] * slices[1] + slices[2] if len(slices) == 3 else 0
    return (width, frame.height) if frame else (width, width * 2 // 3)


def _jpegs(file: BinaryIO, directory: Directory) -> Iterator[_Jpeg]:
    places = [(directory.number(tiff.JPEG_OFFSET), directory.number(tiff.JPEG_BYTES))]
    if directory.number(tiff.COMPRESSION) in _JPEG_COMPRESSIONS:
        offsets = directory.values.get(tiff.STRIP_OFFSETS, ())
        places += [(offsets[0], directory.number(tiff.STRIP_BYTES))] if len(offsets) == 1 else []
    if embedded := directory.places.get(_PANASONIC_JPEG):
        places.append(embedded)
    for offset, length in places:
        if offset > 0 and 0 < length <= _MAX_PREVIEW and (size := _jpeg_size(file, offset, length)):
            yield _Jpeg(offset, length, size)


def _jpeg_size(file: BinaryIO, offset: int, length: int) -> tuple[int, int] | None:
    """Width and height; None where no JPEG is there that a viewer shows."""
    frame = _frame(file, offset, length)
    return (frame.width, frame.height) if frame and frame.marker in _SHOWN and frame.bits == 8 else None


def _frame(file: BinaryIO, offset: int, length: int) -> _Frame | None:
    file.seek(offset)
    if file.read(2) != b"\xff\xd8":
        return None
    for _ in range(_MAX_SEGMENTS):
        header = file.read(4)
        if len(header) < 4 or header[0] != 0xFF or header[1] == _SCAN or file.tell() > offset + length:
            return None
        if header[1] in _FRAMES:
            bits, height, width = struct.unpack(">BHH", file.read(5).ljust(5, b"\0"))
            return _Frame(header[1], bits, width, height) if width and height else None
        file.seek(int.from_bytes(header[2:], "big") - 2, 1)
    return None


def _is_turned(size: tuple[int, int], sensor: tuple[int, int]) -> bool:
    """Whether one is upright and the other lies on its side."""
    return (size[0] - size[1]) * (sensor[0] - sensor[1]) < 0


def _largest(previews: list[_Jpeg], sensor: tuple[int, int]) -> _Jpeg:
    advice = "export it as JPEG."
    if not previews:
        raise HandlerError("unreadable", f"This is a camera's raw photo, and no preview was found in it: {advice}")
    best = max(previews, key=lambda jpeg: jpeg.size[0] * jpeg.size[1])
    # The long sides: a preview may be turned, and is often cropped.
    if 2 * max(best.size) < max(sensor):
        raise HandlerError(
            "unreadable",
            f"This is a camera's raw photo of {sensor[0]:,} × {sensor[1]:,} pixels, "
            f"and its largest preview has only {best.size[0]:,} × {best.size[1]:,}: {advice}",
        )
    return best


def _of_fujifilm(file: BinaryIO) -> RawPhoto:
    """RAF: the places of a JPEG and of the sensor's tags, big-endian, from byte 84."""
    file.seek(84)
    offset, length, tags, _ = struct.unpack(">4I", file.read(16).ljust(16, b"\0"))
    size = _jpeg_size(file, offset, length) if length <= _MAX_PREVIEW else None
    previews = [_Jpeg(offset, length, size)] if size else []
    best = _largest(previews, _fujifilm_size(file, tags))
    file.seek(best.offset)
    return RawPhoto(file.read(best.length), 0)


def _fujifilm_size(file: BinaryIO, at: int) -> tuple[int, int]:
    file.seek(at)
    count = int.from_bytes(file.read(4), "big")
    for _ in range(min(count, 256)):
        tag, length = struct.unpack(">HH", file.read(4).ljust(4, b"\0"))
        content = file.read(length)
        if tag == _FUJIFILM_SIZE and len(content) >= 4:
            height, width = struct.unpack(">HH", content[:4])
            return width, height
    return 0, 0
