"""Reads the directories of a TIFF, and of the raw formats built like one (TIFF 6.0, BigTIFF, DNG)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 254, 256, 257, 258, 259, 262, 274
TILE_OFFSETS, TILE_BYTES = 324, 325
STRIP_OFFSETS, STRIP_BYTES, EXTRA_SAMPLES, SUB_DIRECTORIES = 273, 279, 338, 330
JPEG_OFFSET, JPEG_BYTES = 513, 514

_MAX_DIRECTORIES = 64
_MAX_ENTRIES = 1_000
_MAX_OFFSET = 1 << 40
"""No file is as long; file systems refuse to seek farther than some such number."""
_MAX_COPIED = 1 << 30
_MAX_VALUES = 64
"""Of one tag: all that is wanted here are a few numbers."""
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_CLASSIC = frozenset({0x2A, 0x4F52, 0x5352, 0x55})
"""The number behind the byte order: TIFF's, twice Olympus', and Panasonic's."""
_BIG = 0x2B
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}
"""Whole numbers, as ``struct`` names them."""
_OTHER_TYPES = {2: 1, 5: 8, 10: 8, 11: 4, 12: 8, 129: 1}
"""Bytes of a value: text, fractions, floating point, and Exif 3.0's UTF-8."""
_SIZES = {kind: struct.calcsize("=" + code) for kind, code in _TYPES.items()} | _OTHER_TYPES


@dataclass(frozen=True, slots=True)
class Field:
    """Where a tag's values are."""

    kind: int
    """Their type, by TIFF's numbers."""
    count: int
    start: int
    """Byte of the file."""

    @property
    def size(self) -> int:
        """Bytes, as the directory states them: more than the file has, where it lies."""
        return self.count * _SIZES[self.kind]


@dataclass(frozen=True, slots=True)
class Directory:
    """One image's tags."""

    values: dict[int, tuple[int, ...]]
    """Whole numbers, at most the first 64 of each tag."""
    fields: dict[int, Field]
    """Of each tag, whatever its type."""

    def number(self, tag: int, default: int = 0) -> int:
        """The tag's first value."""
        values = self.values.get(tag, ())
        return values[0] if values else default


def directories(path: Path) -> list[Directory]:
    """Return the directories in order, each followed by those below it; one outside the file is left out."""
    with path.open("rb") as file:
        reader = opened(file)
        return reader.chain(reader.first) if reader else []


def opened(file: BinaryIO) -> Reader | None:
    """Return a reader of the directories of a TIFF that begins at the file's first byte; None where it is none."""
    file.seek(0)
    head = file.read(16)
    order = _BYTE_ORDERS.get(head[:2])
    if order is None or len(head) < 16:
        return None
    (magic,) = struct.unpack(order + "H", head[2:4])
    if magic in _CLASSIC:
        return Reader(file, order, struct.unpack(order + "I", head[4:8])[0], big=False)
    if magic == _BIG:
        return Reader(file, order, struct.unpack(order + "Q", head[8:16])[0], big=True)
    return None


def without_broken_link(path: Path) -> bytes | None:
    """Return the file without a link to a page that is not there; None where no link is broken, or for a huge file.

    libtiff gives up the whole file for one.
    """
    with path.open("rb") as file:
        reader = opened(file)
        link = reader.broken_link() if reader else None
        if link is None or path.stat().st_size > _MAX_COPIED:
            return None
        file.seek(0)
        content = bytearray(file.read())
    content[link] = bytes(link.stop - link.start)
    return bytes(content)


class Reader:
    """Reads directories wherever they lie. What is outside the file is empty, never an error."""

    def __init__(self, file: BinaryIO, order: str, first: int, *, big: bool) -> None:
        self.order = order
        """Of bytes, as ``struct`` names it."""
        self.first = first
        """Where the first directory is said to be."""
        self._file = file
        self._count = struct.Struct(order + ("Q" if big else "H"))
        self._entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
        self._offset = struct.Struct(order + ("Q" if big else "I"))
        self._seen: set[int] = set()

    def chain(self, at: int) -> list[Directory]:
        """A directory, those below it, and those that follow it."""
        found: list[Directory] = []
        while at and at not in self._seen and len(self._seen) < _MAX_DIRECTORIES:
            self._seen.add(at)
            directory, at = self.directory(at)
            if directory.values:
                found.append(directory)
            for below in directory.values.get(SUB_DIRECTORIES, ()):
                found += self.chain(below)
        return found

    def broken_link(self) -> slice | None:
        """Return where a page's directory holds the place of a next one that is none."""
        at = self.first
        for _ in range(_MAX_DIRECTORIES):
            directory, following = self.directory(at)
            if not directory.fields or not following:
                return None
            if not self.directory(following)[0].fields:
                return self.link(at)
            at = following
        return None

    def link(self, at: int) -> slice:
        """Return where the directory at this byte, which ends with it, holds the place of the next one."""
        self._file.seek(at)
        head = self._file.read(self._count.size).ljust(self._count.size, b"\0")
        start = at + self._count.size + self._count.unpack(head)[0] * self._entry.size
        return slice(start, start + self._offset.size)

    def content(self, field: Field, at_most: int) -> bytes:
        """Return the first bytes of a tag's values."""
        self._file.seek(min(field.start, _MAX_OFFSET))
        return self._file.read(min(field.size, at_most))

    def directory(self, at: int) -> tuple[Directory, int]:
        """Return the directory at this byte, and where it says that the next one is."""
        self._file.seek(min(at, _MAX_OFFSET))
        head = self._file.read(self._count.size)
        count = self._count.unpack(head)[0] if len(head) == self._count.size else 0
        if not 0 < count <= _MAX_ENTRIES:
            return Directory({}, {}), 0
        content = self._file.read(count * self._entry.size + self._offset.size)
        whole = len(content) // self._entry.size
        entries = [self._entry.unpack_from(content, n * self._entry.size) for n in range(min(count, whole))]
        following = content[count * self._entry.size :]
        fields = at + self._count.size + self._entry.size - self._offset.size
        directory = Directory({}, {})
        for number, (tag, kind, size, field) in enumerate(entries):
            if kind not in _SIZES:
                continue
            start = self._start(kind, size, field, fields + number * self._entry.size)
            directory.fields[tag] = found = Field(kind, size, start)
            if kind in _TYPES:
                directory.values[tag] = self.whole_numbers(found, _MAX_VALUES)
        return directory, self._offset.unpack(following)[0] if len(following) == self._offset.size else 0

    def _start(self, kind: int, count: int, field: bytes, at: int) -> int:
        """Where the values are: in the entry itself where they fit into it."""
        is_inside = count * _SIZES[kind] <= len(field)
        return at if is_inside else int(self._offset.unpack(field)[0])

    def whole_numbers(self, field: Field, at_most: int) -> tuple[int, ...]:
        """Return a tag's first values; none where they are no whole numbers, or not all in the file."""
        if field.kind not in _TYPES:
            return ()
        layout = struct.Struct(f"{self.order}{min(field.count, at_most)}{_TYPES[field.kind]}")
        content = self.content(field, layout.size)
        return layout.unpack(content) if len(content) == layout.size else ()
