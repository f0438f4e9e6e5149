"""Walks the segments of a JPEG that stand before its pixels (ISO 10918-1, annex B)."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from typing import BinaryIO

START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
PROGRESSIVE_FRAME = 0xC2
_MAX_SEGMENTS = 10_000
_COMPONENTS, _COEFFICIENTS = 5, 64
"""Where a frame's header has the number of its components, and how many coefficients a block has."""
_MAX_JUNK = 1 << 16
_NEXT = re.compile(rb"(?<!\xff)\xff+[^\x00\xff]", re.DOTALL)
"""A marker, and the fill bytes before it (B.1.1.2), from the first: else each of them would be tried."""
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""Pixels hold no such bytes; zeros, restart markers and fill bytes may follow a 255 in them."""
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Tables, scans, comments and applications' data."""
_SCAN_HEADER = re.compile(rb"\xff\xda\0.", re.DOTALL)
"""Marker and length; pixels hold no such bytes."""


def segments(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Yield each segment's marker, the byte where its content begins, and its length, up to the start of scan.

    The last one may reach beyond the file.
    """
    at = 2
    for _ in range(_MAX_SEGMENTS):
        file.seek(at)
        found = _NEXT.search(file.read(4)) or _after_junk(file, at)
        if not found or found[0][-1] == END_OF_IMAGE:
            return
        at += found.end()
        file.seek(at)
        length = int.from_bytes(file.read(2), "big")
        if length < 2:
            return
        yield found[0][-1], at + 2, length - 2
        if found[0][-1] == START_OF_SCAN:
            return
        at += length


def _after_junk(file: BinaryIO, at: int) -> re.Match[bytes] | None:
    """Decoders pass over what is between segments, and so does this."""
    file.seek(at)
    return _NEXT.search(file.read(_MAX_JUNK))


def end_of_scans(content: bytes | mmap.mmap, first_scan: int) -> int:
    """Return where the scans end: at the first marker that no segment between scans has, or with the content.

    ``first_scan`` is where the content of the first scan's header begins.
    """
    at = first_scan
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(content, at)
        if not found:
            break
        length = int.from_bytes(content[found.end() : found.end() + 2], "big")
        at = found.end() + length
        if content[found.end() - 1] not in _BETWEEN_SCANS or length < 2 or at > len(content):
            return found.start()
    return len(content)


def is_every_scan_there(content: bytes, frame: bytes, first_scan: int) -> bool:
    """Whether the scans of a progressive JPEG give every coefficient its last bit (ISO 10918-1, annex G).

    ``frame`` is the content of the frame's header, ``first_scan`` where that of the first scan's begins.
    """
    count = frame[_COMPONENTS] if len(frame) > _COMPONENTS else 0
    if not 0 < 3 * count <= len(frame) - _COMPONENTS - 1:
        return False
    components = range(_COMPONENTS + 1, _COMPONENTS + 1 + 3 * count, 3)
    wanted = {(frame[at], coefficient) for at in components for coefficient in range(_COEFFICIENTS)}
    at = first_scan
    for _ in range(_MAX_SEGMENTS):
        header = content[at : at + 2 * content[at] + 4] if at < len(content) else b""
        if len(header) > 4 and not header[-1] & 0x0F:
            names = header[1:-3:2]
            wanted -= {(name, number) for name in names for number in range(header[-3], header[-2] + 1)}
        found = _SCAN_HEADER.search(content, at)
        if not found:
            break
        at = found.end()
    return not wanted
