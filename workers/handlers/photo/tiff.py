"""Reads the directories of a TIFF, and of the raw formats built like one (TIFF 6.0, BigTIFF, DNG)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 254, 256, 257, 258, 259, 262, 274
STRIP_OFFSETS, STRIP_BYTES, EXTRA_SAMPLES, SUB_DIRECTORIES = 273, 279, 338, 330
JPEG_OFFSET, JPEG_BYTES = 513, 514

_MAX_DIRECTORIES = 64
_MAX_ENTRIES = 1_000
_MAX_OFFSET = 1 << 40
"""No file is as long; file systems refuse to seek farther than some such number."""
_MAX_VALUES = 64
"""Of one tag: all that is wanted here are a few numbers."""
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_CLASSIC = frozenset({0x2A, 0x4F52, 0x5352, 0x55})
"""The number behind the byte order: TIFF's, twice Olympus', and Panasonic's."""
_BIG = 0x2B
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}


@dataclass(frozen=True, slots=True)
class Directory:
    """One image's tags, those with whole numbers only."""

    values: dict[int, tuple[int, ...]]
    """At most the first 64 of each tag."""
    places: dict[int, tuple[int, int]]
    """Where each tag's values begin in the file, and their number."""

    def number(self, tag: int, default: int = 0) -> int:
        """The tag's first value."""
        values = self.values.get(tag, ())
        return values[0] if values else default


def directories(path: Path) -> list[Directory]:
    """Return the directories in order, each followed by those below it; one outside the file is left out."""
    with path.open("rb") as file:
        head = file.read(16)
        order = _BYTE_ORDERS.get(head[:2])
        if order is None or len(head) < 16:
            return []
        (magic,) = struct.unpack(order + "H", head[2:4])
        if magic in _CLASSIC:
            return _Reader(file, order, big=False).chain(struct.unpack(order + "I", head[4:8])[0])
        if magic == _BIG:
            return _Reader(file, order, big=True).chain(struct.unpack(order + "Q", head[8:16])[0])
    return []


class _Reader:
    def __init__(self, file: BinaryIO, order: str, *, big: bool) -> None:
        self._file = file
        self._count = struct.Struct(order + ("Q" if big else "H"))
        self._entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
        self._offset = struct.Struct(order + ("Q" if big else "I"))
        self._order = order
        self._seen: set[int] = set()

    def chain(self, at: int) -> list[Directory]:
        """A directory, those below it, and those that follow it."""
        found: list[Directory] = []
        while at and at not in self._seen and len(self._seen) < _MAX_DIRECTORIES:
            self._seen.add(at)
            directory, at = self._directory(at)
            if directory.values:
                found.append(directory)
            for below in directory.values.get(SUB_DIRECTORIES, ()):
                found += self.chain(below)
        return found

    def _directory(self, at: int) -> tuple[Directory, int]:
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
            if kind in _TYPES:
                start = self._start(kind, size, field, fields + number * self._entry.size)
                directory.places[tag] = (start, size)
                directory.values[tag] = self._values(kind, size, start)
        return directory, self._offset.unpack(following)[0] if len(following) == self._offset.size else 0

    def _start(self, kind: int, count: int, field: bytes, at: int) -> int:
        """Where the values are: in the entry itself where they fit into it."""
        is_inside = count * struct.calcsize("=" + _TYPES[kind]) <= len(field)
        return at if is_inside else int(self._offset.unpack(field)[0])

    def _values(self, kind: int, count: int, start: int) -> tuple[int, ...]:
        layout = struct.Struct(f"{self._order}{min(count, _MAX_VALUES)}{_TYPES[kind]}")
        self._file.seek(min(start, _MAX_OFFSET))
        content = self._file.read(layout.size)
        return layout.unpack(content) if len(content) == layout.size else ()
